"""A model repository for NVIDIA's Triton Inference Server: a folder for each model, in it one for each version."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...files import PARTIAL, disk_errors, read_json, write_bytes
from ...spaces.target import PerTarget, Target
from ..report.entry import Entry
from ..report.front import Front
from ..report.intact import refuse_inside_a_study
from ..store.facts import TensorFacts, read_facts
from ..store.samples import read_arrays
from .checksums import NAME, write_checksums
from .contents import write_bundle
from .record import FileRecord, read_record
from .replacing import put_in_place, refuse_to_lose, written_before
from .templates import Ready, filled

BACKENDS = {
    "onnxruntime": 'backend: "onnxruntime"',
    "openvino": 'backend: "openvino"',
    "tensorrt": 'backend: "tensorrt"',
}
"""Runtime -> what serves its files."""
TYPES = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "uint16": "UINT16",
    "uint32": "UINT32",
    "uint64": "UINT64",
    "int8": "INT8",
    "int16": "INT16",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
}
"""Type of an array -> what the server calls it."""
CONFIG = "config.pbtxt"
"""What the server is told of a model. Each version of ours has written it."""
LABELS = "labels.txt"
"""Names of classes, a line each, as the server reads them."""
MOST = 128
"""Inputs in a batch that the server may gather, where a file leaves its batch open."""


@dataclass(frozen=True)
class Tensor:
    """One input or output of a file, as the server is told of it.

    Attributes:
        name: As the file has it.
        dtype: As NumPy names it.
        dims: Without the batch where the server may choose that, else with it.
    """

    name: str
    dtype: str
    dims: tuple[int, ...]


def write_repository(front: Front, entry: Entry, out: Path) -> PerTarget[Path]:
    """Write a model into a repository, as a new version where a model of this name is there already.

    The model is named after the study, and the target where there are several. Each version is a bundle of its own.
    Everything is made before anything is put in its place, so what fails leaves nothing, and what was interrupted can
    be repeated.

    Args:
        front: The front.
        entry: The model.
        out: The repository.

    Returns:
        The model files, by target.

    Raises:
        UsageError: The server has no backend for the runtime or no type for an array, or a file would be lost that no
            version wrote.
        StorageError: A file of the study is gone, or the disk is full or cannot be written.
    """
    unknown = sorted({name.partition("@")[0] for name in entry.trial.measured} - BACKENDS.keys())
    if unknown:
        raise UsageError(f"Triton has no backend for files of {unknown[0]}; allowed: {', '.join(BACKENDS)}")
    several = len(entry.trial.measured) > 1
    owns = {name: f"{front.folder.name}_{name}" if several else front.folder.name for name in entry.trial.measured}
    models = {name: out / re.sub(r"[^A-Za-z0-9_.-]", "_", own) for name, own in owns.items()}
    refuse_inside_a_study(out)
    output = read_facts(front.folder).output
    for model in models.values():
        refuse_to_lose(model, (CONFIG, LABELS, NAME), written_before(model, CONFIG))
    with ExitStack() as held:
        made = {name: held.enter_context(_beside(model)) for name, model in models.items()}
        found: dict[str, Path] = {}
        for name, model in models.items():
            number = max((int(p.name) for p in model.glob("*") if p.name.isdigit()), default=0) + 1
            version = made[name] / str(number)
            file = write_bundle(front, entry, version, only=name)[name]
            _write_config(made[name], model.name, version, name, output)
            found[name] = model / file.relative_to(made[name])
        for name, model in models.items():
            put_in_place(made[name], model, CONFIG)
    return found


@contextmanager
def _beside(model: Path) -> Iterator[Path]:
    """Give a folder for what is not yet finished of a model: in the model's own, where the server looks for none.

    A model's folder that is empty in the end is removed: the server would take it for a broken model.
    """
    with disk_errors(model):
        model.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=model) as folder:
                yield Path(folder)
        finally:
            if not any(model.iterdir()):
                model.rmdir()


def _write_config(folder: Path, model: str, version: Path, target: str, output: TensorFacts | None) -> None:
    """Write what a model has beside its versions.

    Args:
        folder: Where.
        model: Name of the model.
        version: The bundle that it is about.
        target: Name of the target.
        output: What its file gives, None where the study did not keep that.
    """
    record = read_record(version)
    said = record.files[target]
    labels: list[str] = read_json(version / "labels.json")
    batch = fixed_batch(version / said.file, said.target)
    inputs, gives = _tensors(version, target, output, batch)
    named = "" if not labels or record.kind != "classification" else LABELS
    if named:
        lines = (" ".join(label.split()) or "-" for label in labels)
        write_bytes(folder / named, "".join(f"{label}\n" for label in lines).encode())
    text = filled(
        "config.pbtxt.j2",
        name=_text(model),
        backend=Ready(BACKENDS[said.target.runtime]),
        file=_text(said.file),
        batch=Ready(str(0 if batch else MOST)),
        gathers=batch is None,
        inputs=[_words(tensor) for tensor in inputs],
        output=_words(gives),
        labels=_text(named) if named else "",
        kind=Ready("KIND_CPU" if said.target.device == "cpu" else "KIND_GPU"),
        parameters=_parameters(said),
    )
    write_bytes(folder / CONFIG, text.encode())
    write_checksums(folder, deep=False)


def fixed_batch(path: Path, target: Target) -> int | None:
    """Return the batch that a file is made for; None where it takes any."""
    if path.suffix != ".onnx":
        return None
    import onnx

    first: Any = onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim[0]
    return int(first.dim_value) if first.WhichOneof("value") == "dim_value" else None


def _tensors(
    version: Path, target: str, output: TensorFacts | None, batch: int | None
) -> tuple[Sequence[Tensor], Tensor]:
    answer = (read_arrays(version / "samples.npz") or {}).get(f"answer:{target}")
    if answer is not None:
        output = TensorFacts("output", answer.shape[1:], str(answer.dtype))
    inputs: list[dict[str, Any]] = read_json(version / "preprocessing.json")["inputs"]
    if output is None or not inputs:
        raise UsageError(
            "Triton is told the shapes of inputs and outputs, which this study did not keep: search on in it, which "
            "keeps them even where no trial is left to run"
        )
    first = (batch,) if batch else ()
    takes = [Tensor(each["name"], each["dtype"], (*first, *each["shape"])) for each in inputs]
    return takes, Tensor(output.name, output.dtype, (*first, *output.shape))


def _words(tensor: Tensor) -> dict[str, Ready]:
    if tensor.dtype not in TYPES:
        raise UsageError(f"Triton has no type for {tensor.name}, which is {tensor.dtype}; allowed: {', '.join(TYPES)}")
    words = {"name": _text(tensor.name), "type": Ready(f"TYPE_{TYPES[tensor.dtype]}")}
    if not tensor.dims:  # the server has no dims without a number: it is told of [N, 1], and makes [N] of it
        return words | {"dims": Ready("1"), "reshape": Ready("reshape: { shape: [ ] }")}
    return words | {"dims": Ready(", ".join(map(str, tensor.dims))), "reshape": Ready("")}


def _parameters(said: FileRecord) -> list[tuple[Ready, Ready]]:
    threads = str(said.target.threads)
    if said.target.runtime == "onnxruntime" and said.target.device == "cpu":
        found = {"intra_op_thread_count": threads, "inter_op_thread_count": "1"}
    elif said.target.runtime == "openvino":
        found = {"NUM_STREAMS": "1", "INFERENCE_NUM_THREADS": threads}
    else:
        found = {}
    return [(_text(key), _text(value)) for key, value in found.items()]


def _text(value: str) -> Ready:
    """Return a text as a string of protobuf's text format."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return Ready(f'"{escaped}"')
