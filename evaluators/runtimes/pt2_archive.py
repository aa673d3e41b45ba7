"""Archives of exported programs (.pt2), read so that nothing in them is ever executed.

PyTorch's own reader unpickles, loads compiled libraries, and evaluates expressions that stand in an archive as text. So
an archive is copied part by part, and only what is plain data goes into the copy.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path
from typing import Any

from ...errors import MeasurementError

AGAIN = "export it again with torch.export.save, or measure it as .onnx"
DROPPED = re.compile(r"data/sample_inputs/.*|extra/.*")
"""Parts that no inference needs. Examples are pickled; PyTorch takes an empty part for none."""
CONFIG = re.compile(r"data/(weights|constants)/\w+_(weights|constants)_config\.json")
PLAIN = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|archive_format|archive_version|byteorder|\.format_version"
    r"|\.storage_alignment|\.data/(version|serialization_id)"
)
PROGRAM = re.compile(r"models/[\w.-]+\.json")

OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|quantized|quantized_decomposed|torchvision|torchao)"
    r"\.(?!__(?!i?(and|or|xor|lshift|rshift)__\.)|from_file|save\b)\w+\.(?!__)\w+"
)
TARGET = re.compile(
    OPERATOR.pattern
    + r"|torch\.ops\.higher_order\.(cond|switch|while_loop|scan|associative_scan|map_impl|invoke_subgraph"
    r"|wrap_with_set_grad_enabled|wrap_with_autocast|auto_functionalized|auto_functionalized_v2|out_dtype|flex_attention)"
    r"|_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|not_)"
    r"|math\.(?!_)\w+|torch\._?sym_\w+"
)
"""Operators that compute and do nothing else."""
STRUCTURES = {None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict"}
"""What a program may take and return; PyTorch imports modules that others name."""
NAME = re.compile(r"[\w.+:/@-]*")
WORD = re.compile(r"[A-Za-z_]\w*")
SYMBOL = re.compile(r"z?[suz]\d+")
DECLARED = re.compile(r"Symbol\('z?[suz]\d+'(, \w+=(True|False))*\)|Float\('[\d.e+-]+', precision=\d+\)")
FUNCTION = re.compile(
    r"FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural"
    r"|FloatPow|FloatTrueDiv|IntTrueDiv|IsNonOverlappingAndDenseIndicator|TruncToFloat|TruncToInt|RoundToInt|RoundDecimal"
    r"|ToFloat|Identity|Max|Min|Eq|Ne|Gt|Ge|Lt|Le|And|Or|Not|Abs|Add|Mul|Pow|Piecewise|floor|ceiling|True|False|oo|int_oo"
    r"|sqrt|exp|log|Integer|Rational|Half|Zero|One|NegativeOne|(Int|NegativeInt|Negative)?Infinity|true|false|Equality"
    r"|Unequality|(Strict)?(Greater|Less)Than|Tuple|ExprCondPair|evaluate"
)
"""What may stand in an expression of sizes, besides symbols such as s77."""


def plain_archive(path: Path) -> io.BytesIO:
    """Return an archive's content without what is pickled or compiled, for `torch.export.load`.

    Raises:
        MeasurementError: It is no such archive, or needs a part that could run code.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            parts = {part: archive.read(part) for part in archive.namelist() if not part.endswith("/")}
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise MeasurementError(f"{path}: no archive of PyTorch (.pt2): {error}") from error
    roots = {part.partition("/")[0] for part in parts}
    if len(roots) != 1 or not any(PROGRAM.fullmatch(part.partition("/")[2]) for part in parts):
        old = " of an older form, which is pickled" if any("serialized_" in part for part in parts) else ""
        raise MeasurementError(f"{path}: holds no exported program{old}: {AGAIN}")
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_STORED) as copy:
        for part, content in parts.items():
            copy.writestr(part, _checked(path, part.partition("/")[2], content))
    held.seek(0)
    return held


def _checked(path: Path, part: str, content: bytes) -> bytes:
    if DROPPED.fullmatch(part):
        return b""
    if PLAIN.fullmatch(part):
        return content
    try:
        if CONFIG.fullmatch(part):
            _check_config(path, json.loads(content))
            return content
        if PROGRAM.fullmatch(part):
            return json.dumps(_plain(path, json.loads(content), "")).encode()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise MeasurementError(f"{path}: {part} is damaged ({type(error).__name__}): {AGAIN}") from error
    raise _refused(path, part)


def _check_config(path: Path, config: Any) -> None:
    for name, entry in config["config"].items():
        if entry["use_pickle"] is not False or not re.fullmatch(r"(weight|tensor)_\d+", entry["path_name"]):
            raise _refused(path, f"the weights {name!r}, which are pickled,")


def _plain(path: Path, value: Any, key: str) -> Any:
    """Return a part of a program, of which all text is checked that PyTorch would make code of."""
    if isinstance(value, dict):
        if key == "metadata":
            return {}  # where each node came from
        for name in value:
            if not NAME.fullmatch(name):
                raise _refused(path, f"the name {name[:60]!r}")
        return {name: _plain(path, inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [] if key == "guards_code" else [_plain(path, inner, key) for inner in value]
    if not isinstance(value, str) or key == "as_string":
        return value  # texts among the arguments of operators stay texts
    if key == "expr_str":
        rest = DECLARED.sub("", value)
        fine = all(SYMBOL.fullmatch(w) or FUNCTION.fullmatch(w) for w in WORD.findall(rest))
        fine = fine and not set(rest) & set("'\"\\[]{}:;@_")
    elif key in ("in_spec", "out_spec"):
        if not value:
            return value
        protocol, structure = json.loads(value)
        if protocol != 1:
            raise _refused(path, f"{key} of form {str(protocol)[:60]!r}")
        return json.dumps([1, _structure(path, structure)])
    elif key in ("target", "as_operator"):
        fine = TARGET.fullmatch(value) is not None and not _names_files(value)
    else:
        fine = NAME.fullmatch(value) is not None
    if not fine:
        raise _refused(path, f"{key} {value[:60]!r}")
    return value


def _names_files(target: str) -> bool:
    """Tell whether an operator is one that reads or writes a file whose name it takes, or is none."""
    import torch

    if not OPERATOR.fullmatch(target):
        return False
    found: Any = torch.ops
    for name in target.split(".")[2:]:
        found = getattr(found, name, None)
    if found is None:
        return False  # PyTorch knows it no more than we do, and says so
    if not isinstance(found, torch._ops.OpOverload):
        return True
    texts = [argument.name for argument in found._schema.arguments if "str" in str(argument.type)]
    return any("file" in name or "path" in name for name in texts)


def _structure(path: Path, described: Any) -> dict[str, Any]:
    """Return how inputs or outputs are nested, with plain containers alone: keys of others may name code."""
    kind, context = described["type"], described["context"]
    keys = None if context is None else json.loads(context)
    plain = keys is None or (isinstance(keys, list) and all(isinstance(key, str | int | float | None) for key in keys))
    if kind not in STRUCTURES or not plain:
        raise _refused(path, f"inputs or outputs in {str(kind)[:60]!r}")
    inner = [_structure(path, each) for each in described["children_spec"]]
    return {"type": kind, "context": None if context is None else json.dumps(keys), "children_spec": inner}


def _refused(path: Path, what: str) -> MeasurementError:
    return MeasurementError(f"{path}: holds {what}: it could run code, so the file is not loaded; {AGAIN}")
