"""What runs a model of a bundle: `infer.py`, which needs its runtime and numpy alone, and `requirements.txt`."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...spaces.target import Target
from ...studies.preprocessing import Preprocessing
from .templates import Ready, filled

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "onnxruntime": ("onnxruntime",),
    "openvino": ("openvino",),
    "litert": ("ai-edge-litert",),
    "executorch": ("executorch", "torch"),
    "pytorch": ("torch",),
    "torch_compile": ("torch",),
    "coreml": ("coremltools",),
    "tensorrt": ("tensorrt", "cuda-bindings"),
    "tensorrt_rtx": ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu13-libs", "cuda-bindings"),
}
"""Runtime -> what is installed to run its files. The first has the version that was measured."""

TOLD = {
    "classification": """\
    shares = np.exp(answer - answer.max()) / np.exp(answer - answer.max()).sum()
    return ", ".join(f"{name(i)} {shares[i]:.1%}" for i in np.argsort(-shares)[:3])""",
    "binary": """\
    share = 1 / (1 + np.exp(-np.float64(answer.reshape(-1)[0])))
    return f"{LABELS[1] if len(LABELS) > 1 else 'yes'} {share:.1%}\"""",
    "multilabel": """\
    return ", ".join(name(i) for i in np.flatnonzero(answer > 0)) or "none\"""",
    "segmentation": """\
    classes = answer.argmax(0) if len(answer) > 1 else (answer[0] > 0).astype(int)
    found, counts = np.unique(classes, return_counts=True)
    return ", ".join(f"{name(i)} {n / classes.size:.1%} of the pixels" for i, n in zip(found, counts))""",
    "tokens": """\
    return " ".join(name(i) for i in answer.argmax(-1))""",
    "language_model": """\
    return "next: " + ", ".join(name(i) for i in np.argsort(-answer[-1])[:3])""",
}
"""Kind of task -> the body of the function that puts an answer into words."""
NUMBERS = """\
    return " ".join(f"{number:.6g}" for number in answer.reshape(-1))"""


@dataclass(frozen=True)
class ScriptFacts:
    """What a script is made by.

    Attributes:
        file: The model's path beside the script.
        shared: Where preprocessing and labels lie, seen from the script: "" beside it, "../" a folder up.
        target: Where it was measured.
        version: Of the runtime, as it was measured.
        kind: Of the task.
        preprocessing: How a picture or a text becomes an input.
        inputs: dtype of each input, by name.
        precision: What the float layers of an OpenVINO file run in.
        shapes: Of one example of each input, by name; empty where they are not known.
    """

    file: str
    shared: str
    target: Target
    version: str
    kind: str
    preprocessing: Preprocessing
    inputs: Mapping[str, str]
    precision: str = "f32"
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    @property
    def takes_pictures(self) -> bool:
        """Whether it is known how a picture becomes an input."""
        return len(self.inputs) == 1 and self.preprocessing.size is not None and self.preprocessing.channels is not None

    @property
    def takes_texts(self) -> bool:
        """Whether inputs are rows of whole numbers, which a text can become."""
        whole = all(dtype.startswith(("int", "uint")) for dtype in self.inputs.values())
        return bool(self.inputs) and whole and all(len(shape) == 1 for shape in self.shapes.values())

    @property
    def tokenizer_file(self) -> bool:
        """Whether the tokenizer is a file, which is shipped along."""
        return self.preprocessing.tokenizer.endswith(".json")


def infer_script(facts: ScriptFacts) -> str:
    """Return the text of `infer.py`.

    Raises:
        UsageError: The runtime has none, as those of plug-ins.
    """
    runtime = facts.target.runtime
    if runtime not in PACKAGES:
        raise UsageError(f"there is no infer.py for runtime {runtime!r}; known: {', '.join(PACKAGES)}")
    template = {"torch_compile": "pytorch", "tensorrt_rtx": "tensorrt"}.get(runtime, runtime)
    block = filled(f"runtimes/{template}.py.j2", **{k: Ready(v) for k, v in _runtime_words(facts).items()})
    imports, _, load = block.partition("\n---\n")
    arguments, kinds = usage(facts)
    each = facts.takes_texts and facts.kind in ("tokens", "language_model")
    return filled(
        "infer.py.j2",
        file=Ready(facts.file),
        usage=Ready(arguments.replace("\\", "\\\\").replace('"""', "'''")),
        kinds=Ready(json.dumps(f": {kinds}")),
        imports=Ready(imports + "\n"),
        load=Ready(load),
        about=Ready(json.dumps(facts.shared + "preprocessing.json")),
        labels=Ready(json.dumps(facts.shared + "labels.json")),
        picture=facts.takes_pictures,
        text=facts.takes_texts,
        tokens=Ready(_tokens(facts)),
        cut=Ready("-length:" if facts.kind == "language_model" else ":length"),
        each=each,
        until=Ready("[: SAID[0] if SAID else None]" if each else ""),
        told=Ready(TOLD.get(facts.kind, NUMBERS)),
    )


def requirements(facts: ScriptFacts) -> str:
    """Return the text of `requirements.txt`: exact versions of the runtime, as it was measured, and of numpy."""
    runtime, *others = PACKAGES[facts.target.runtime]
    if runtime == "onnxruntime" and facts.target.device != "cpu":
        runtime = "onnxruntime-gpu"  # the other one has no GPU, and would run the model on the CPU without a word
    names = [*others, "numpy"]
    names += ["pillow"] if facts.takes_pictures else []
    named = facts.preprocessing.tokenizer
    names += ["tokenizers"] if facts.takes_texts and named not in ("", "bytes") else []
    lines = [f"{runtime}=={_released(facts.version)}" if facts.version else runtime]
    for name in names:
        version = _installed(name)
        lines.append(f"{name}=={version}" if version else name)
    return "\n".join(lines) + "\n"


def _runtime_words(facts: ScriptFacts) -> dict[str, str]:
    target = facts.target
    providers = {
        "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
        "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
    }
    units = {"gpu": "CPU_AND_GPU", "ane": "CPU_AND_NE", "all": "ALL"}
    module = "PROGRAM.module()"
    if target.device == "cuda":
        module = 'torch.export.passes.move_to_device_pass(PROGRAM, "cuda").module()'
    return {
        "model": json.dumps(facts.file),
        "threads": str(target.threads),
        "providers": json.dumps(providers.get(target.device, ["CPUExecutionProvider"])),
        "precision": json.dumps(facts.precision),
        "units": units.get(target.device, "CPU_ONLY"),
        "library": "tensorrt" if target.runtime == "tensorrt" else "tensorrt_rtx",
        "module": f"torch.compile({module})" if target.runtime == "torch_compile" else module,
        "there": '.to("cuda")' if target.device == "cuda" else "",
    }


def usage(facts: ScriptFacts) -> tuple[str, str]:
    """Return the arguments of the script and what they mean, and what one argument may be."""
    one = "an array (.npy)"
    if facts.takes_pictures:
        one = "an image or an array (.npy)"
    elif facts.takes_texts:
        one = "an array (.npy) or a text" if facts.preprocessing.tokenizer else 'an array (.npy) or numbers ("12 5 7")'
    if len(facts.inputs) == 1:
        return f"INPUT, where INPUT is {one}", one
    if facts.takes_texts:
        return f"INPUT, or one for each of {', '.join(facts.inputs)}: {one}", one
    return f"{' '.join(name.upper() for name in facts.inputs)}, each {one}", one


def _tokens(facts: ScriptFacts) -> str:
    named = facts.preprocessing.tokenizer
    if named == "":
        return "[int(number) for number in what.split()]"
    if named == "bytes":
        return "list(what.encode())"
    made = f"from_pretrained({json.dumps(named)})"
    if facts.tokenizer_file:
        made = f"from_file(str(HERE / {json.dumps(facts.shared + 'tokenizer.json')}))"
    return f'__import__("tokenizers").Tokenizer.{made}.encode(what).ids'


def _installed(package: str) -> str:
    try:
        return _released(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return ""


def _released(version: str) -> str:
    """Return a version without what one build of it is called, such as "+cpu": an index has none of these."""
    return version.partition("+")[0]


def openvino_precision(path: Path) -> str:
    """Return what the float layers of an OpenVINO file run in, as its metadata say; "f32" where they say nothing."""
    import onnx

    from ...evaluators.runtimes.openvino import PRECISION_KEY

    model: Any = onnx.load(path, load_external_data=False)
    return str({entry.key: entry.value for entry in model.metadata_props}.get(PRECISION_KEY, "f32"))
