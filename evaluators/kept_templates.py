"""Exports that are kept for later processes of this user: to export a network takes seconds, to read one milliseconds.

Each worker of a search, each search that goes on, and each later study of the same network needs the same export. What
is kept holds no weights, as each student brings its own.
"""

from __future__ import annotations

import base64
import hashlib
import operator
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn

from .. import compression
from ..cache import Cache
from ..compression.export import Template
from ..compression.template_numbers import Lesson
from ..spaces.inputs import Inputs, tensors_of

FORMAT = 3
LARGEST_BYTES = 2**24
"""Of a file: a graph that holds more has weights that no parameter was found for."""
MOST_FILES = 200
"""Those that were written first go when there are more."""
DECIDING = ("torch", "onnx", "onnxscript", "onnx-ir")
"""Libraries whose version decides what an export is."""
STATISTICS = ("running_mean", "running_var")
"""Buffers whose values an export does not depend on, as on those of parameters."""
PLAIN = (bool, int, float, str, type(None))


def kept_template(network: nn.Module, *examples: Inputs, how: str, make: Callable[[], Template]) -> Template:
    """Return the template of a network: as it was kept, else made and kept.

    Args:
        network: In eval mode. One whose parts cannot be told by what they are is not kept.
        examples: Inputs that it is exported with.
        how: What else decides how it is exported.
        make: Exports it. What it returns must not depend on the network's weights.
    """
    form = form_of(network, *examples)
    if form is None:
        return make()
    kept = Cache("templates", FORMAT, _loaded, _plain)
    key = hashlib.sha256("\n".join([form, how, _exporter()]).encode()).hexdigest()[:32]
    found = kept.read(key)
    if found is None:
        found = make()
        if _can_be_kept(found):
            kept.write(key, found)
            _forget(kept.folder)
    return found


def form_of(network: nn.Module, *examples: Inputs) -> str | None:
    """Return all that an export with random weights depends on; None where that cannot be told.

    Args:
        network: A captured one, else it cannot be told what it computes.
        examples: Inputs that it is exported with.
    """
    if not isinstance(network, fx.GraphModule):
        return None
    lines = []
    for node in network.graph.nodes:
        what = _what(network, node)
        if what is None:
            return None
        lines.append(f"{node.op} {node.name} {what} {node.args!r} {node.kwargs!r}")
    lines += _tensors(network)
    lines += [f"example {_content(each)}" for example in examples for each in tensors_of(example)]
    return "\n".join(lines)


def _what(network: fx.GraphModule, node: fx.Node) -> str | None:
    """Return what a node does, None where it cannot be told."""
    if node.op in ("placeholder", "output"):
        return str(node.target)
    if node.op == "call_module":
        module = network.get_submodule(str(node.target))
        parts = [_settings(part) for part in module.modules()]
        return None if None in parts else f"{node.target} {parts}"
    if node.op == "get_attr":
        value = operator.attrgetter(str(node.target))(network)
        if isinstance(value, nn.Parameter) or not isinstance(value, Tensor):
            return str(node.target) if isinstance(value, nn.Parameter) else None
        return f"{node.target} {_content(value)}"
    known = isinstance(node.target, torch._ops.OpOverload) or getattr(operator, _name(node.target), None) is node.target
    return f"{node.target}" if node.op == "call_function" and known else None


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", ""))


def _settings(module: nn.Module) -> str | None:
    """Return a layer's class with its settings, None where these are no plain values, or its code may be any."""
    kind = type(module)
    if not kind.__module__.startswith("torch.nn.") or module._forward_hooks or module._forward_pre_hooks:
        return None
    own = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    if not all(_is_plain(value) for value in own.values()):
        return None
    return f"{kind.__module__}.{kind.__name__} {sorted(own.items())}"


def _is_plain(value: Any) -> bool:
    return all(map(_is_plain, value)) if isinstance(value, tuple | list) else isinstance(value, PLAIN)


def _tensors(network: nn.Module) -> Iterator[str]:
    """Yield a line for each parameter and buffer; two names of one parameter are told from two parameters."""
    first: dict[int, str] = {}
    for name, value in network.named_parameters(remove_duplicate=False):
        yield f"parameter {name} {first.setdefault(id(value), name)} {list(value.shape)} {value.dtype}"
    for name, buffer in network.named_buffers(remove_duplicate=False):
        said = f"{list(buffer.shape)} {buffer.dtype}" if name.endswith(STATISTICS) else _content(buffer)
        yield f"buffer {name} {first.setdefault(id(buffer), name)} {said}"


def _content(value: Tensor) -> str:
    plain = value.detach().cpu().contiguous()
    held = plain.view(-1).view(torch.uint8).numpy().tobytes()
    return f"{list(value.shape)} {value.dtype} {hashlib.sha256(held).hexdigest()}"


@cache
def _exporter() -> str:
    """Return the versions of the libraries that export, and a digest of our own code that does."""
    digest = hashlib.sha256()
    for path in sorted(Path(compression.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    versions = []
    for name in DECIDING:
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    return "\n".join([*versions, digest.hexdigest()])


def _can_be_kept(template: Template) -> bool:
    """Tell whether a template is as `make_template` makes it, and holds few numbers that are no student's."""
    held = sum(len(i.raw_data) for i in template.model.graph.initializer)
    return held <= LARGEST_BYTES and not template.seen and not template.numbers


def _plain(template: Template) -> dict[str, Any]:
    return {
        "model": base64.b64encode(zlib.compress(template.model.SerializeToString(), 1)).decode(),
        "batch": template.batch,
        "pairs": template.pairs,
        "sources": template.sources,
        "layers": template.layers,
        "numbers": list(template.own.numbers.items()),
        "constants": list(template.own.constants.items()),
        "rows": template.rows,
        "tables": template.tables,
        "recurrent": template.recurrent,
    }


def _loaded(data: Any) -> Template:
    import onnx

    model = onnx.ModelProto()
    try:
        model.ParseFromString(zlib.decompress(base64.b64decode(data["model"])))
    except Exception as error:  # of zlib's own kind, or of protobuf's
        raise ValueError(str(error)) from error
    return Template(
        model,
        int(data["batch"]),
        tuple((str(layer), str(norm)) for layer, norm in data["pairs"]),
        {name: (str(parameter), bool(turned)) for name, (parameter, turned) in data["sources"].items()},
        {str(node): str(layer) for node, layer in data["layers"].items()},
        Lesson(
            {(str(n), int(i), int(p)): int(value) for (n, i, p), value in data["numbers"]},
            {(int(n), int(i), int(p)): int(value) for (n, i, p), value in data["constants"]},
        ),
        rows={name: tuple((str(p), int(at)) for p, at in rows) for name, rows in data["rows"].items()},
        tables={str(node): str(table) for node, table in data["tables"].items()},
        recurrent={str(node): str(layer) for node, layer in data["recurrent"].items()},
    )


def _forget(folder: Path) -> None:
    with suppress(OSError):
        files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime)
        for path in files[:-MOST_FILES]:
            path.unlink()
