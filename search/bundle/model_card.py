"""The model card of a bundle, in the form of the Hugging Face Hub: YAML, then what a reader wants to know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...evaluators.measurement import ms_text
from ...spaces.factors import Factor
from ...spaces.plan import Plan
from ...spaces.spec import StudentSpec
from ...spaces.target import PerTarget
from ...studies.metric import MetricLabel
from ...studies.study_file import StudyFile
from ..report.html.wording import beginning, few_weights
from ..report.intervals import speed_up
from ..store.facts import TaskFacts
from .card_inputs import cut_in_words, inputs_in_words, smaller_in_words
from .record import Figure, FileRecord, Record
from .scripts import PACKAGES, ScriptFacts, usage
from .sources import sources_of, without_place
from .templates import Ready, code, filled, quoted

PIPELINES = {
    "segmentation": "image-segmentation",
    "tokens": "token-classification",
    "language_model": "text-generation",
}
"""Kind of task -> what the Hub calls it, where that does not hang on the inputs."""
LIBRARIES = {
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "litert": "tflite",
    "executorch": "executorch",
    "coreml": "coreml",
    "tensorrt": "tensorrt",
    "tensorrt_rtx": "tensorrt",
    "pytorch": "pytorch",
    "torch_compile": "pytorch",
}


@dataclass(frozen=True)
class CardFacts:
    """What a card tells.

    Attributes:
        record: Everything that was measured.
        settings: Of the study.
        task: What the study knows of its task.
        plan: The model's plan.
        spec: What it does to the teacher.
        inputs: The sample inputs, by name.
        scripts: What each file's script was made by.
        pickled: Whether a file holds anything that is unpickled when it is loaded.
    """

    record: Record
    settings: StudyFile
    task: TaskFacts
    plan: Plan
    spec: StudentSpec
    inputs: Mapping[str, NDArray[Any]]
    scripts: PerTarget[ScriptFacts]
    pickled: bool = False
    resampled: bool = False

    @property
    def metric(self) -> MetricLabel:
        """How the metric is shown."""
        return self.task.metric

    def text(self, figure: Figure | None, missing: str = "not scored") -> str:
        """Return a metric with its interval."""
        if figure is None:
            return missing
        value = self.metric.text(self.metric.kept(figure.value))
        if figure.low is None or figure.high is None:
            return value
        low, high = (self.metric.text(self.metric.kept(end)) for end in (figure.low, figure.high))
        return f"{value} (95 % interval {low} to {high})"


def model_card(facts: CardFacts) -> str:
    """Return the card as Markdown."""
    record = facts.record
    name, file = next(iter(record.files.items()))
    return filled(
        "README.md.j2",
        front_matter=Ready(front_matter(facts)),
        title=f"{record.study}, trial {record.trial}",
        summary=_summary(facts, name, file),
        usage=Ready(usage(facts.scripts[name])[0].partition(",")[0]),
        places=[_place(facts, name, file) for name, file in record.files.items()],
        figures=_figures(facts),
        metric_note=_metric_note(facts),
        made_of=_made_of(facts),
        plan=sorted((name, str(value)) for name, value in facts.plan.choices.items()),
        inputs=inputs_in_words(facts.inputs, facts.task, facts.record.samples, facts.spec.size),
        limits=_limits(facts),
        recipe=Ready("recipe.toml"),
        sources=list(sources_of(facts.settings)),
    )


def front_matter(facts: CardFacts) -> str:
    """Return the metadata of the card as YAML, without its fences."""
    record, runtimes = facts.record, [file.target.runtime for file in facts.record.files.values()]
    pipeline = _pipeline(facts)
    tags = dict.fromkeys(["autocompress", "model-compression", *runtimes, *(["quantized"] if facts.spec.bits else [])])
    lines = [f"library_name: {quoted(LIBRARIES.get(runtimes[0], runtimes[0]))}"]
    lines += [f"pipeline_tag: {quoted(pipeline)}"] if pipeline else []
    lines += ["tags:", *(f"- {quoted(tag)}" for tag in tags), "model-index:"]
    lines += [f"- name: {quoted(f'{record.study}-{record.trial}')}", "  results:"]
    for split, figure in (("validation", record.validation), ("test", record.test)):
        if figure is None:
            continue
        lines += [
            "  - task:",
            f"      type: {quoted(pipeline or facts.task.kind or 'other')}",
            "    dataset:",
            f"      name: {quoted(_data_name(facts))}",
            f"      type: {quoted(facts.settings.data.kind if facts.settings.teacher.model else 'custom')}",
            f"      split: {split}",
            "    metrics:",
            f"    - type: {quoted(facts.metric.name)}",
            f"      name: {quoted(f'{facts.metric.name} ({split})')}",
            f"      value: {figure.value!r}",
        ]
    return "\n".join(lines)


def _pipeline(facts: CardFacts) -> str:
    script = next(iter(facts.scripts.values()))
    if facts.task.kind in PIPELINES:
        return PIPELINES[facts.task.kind]
    if facts.task.kind in ("classification", "binary", "multilabel"):
        if script.takes_texts and facts.task.preprocessing is not None and facts.task.preprocessing.tokenizer:
            return "text-classification"
        shapes = [part.ndim for part in facts.inputs.values()]
        return "image-classification" if shapes == [4] else ""
    return ""


def _data_name(facts: CardFacts) -> str:
    data = facts.settings.data
    if facts.settings.teacher.model is None:
        return f"of the task {without_place(facts.settings.task.source or facts.settings.name, facts.settings.folder)}"
    return without_place(data.name or data.train or data.kind, facts.settings.folder)


def _summary(facts: CardFacts, name: str, file: FileRecord) -> str:
    record = facts.record
    what = f"the teacher {facts.task.network}" if facts.task.network else "its teacher"
    return (
        f"A compressed version of {what}: {facts.metric.name} {facts.text(record.validation)} on the validation split, "
        f"{ms_text(file.latency.p50_ms)} ms for a batch of {file.target.batch} on {name}, "
        f"{speed_up(file.latency).value:.2f} times as fast as the teacher's file, "
        f"{file.size_bytes / 1000:.0f} kB. It is trial {record.trial} ({record.origin}) of the study {record.study}."
    )


def _figures(facts: CardFacts) -> list[tuple[str, str]]:
    record, metric = facts.record, facts.metric
    name, file = next(iter(record.files.items()))
    times = speed_up(file.latency)
    where = f" on {name}" if len(record.files) > 1 else ""
    return [
        (f"{metric.name}, validation split", facts.text(record.validation)),
        (f"{metric.name}, test split", facts.text(record.test)),
        (f"{metric.name} of the teacher, validation split", facts.text(record.teacher, "not measured")),
        (
            f"speed-up over the teacher{where}",
            f"{times.value:.2f} x (95 % interval {times.low:.2f} to {times.high:.2f})",
        ),
    ]


def _metric_note(facts: CardFacts) -> str:
    side = "" if facts.metric.maximized else ", lower is better"
    count = facts.record.validation.examples
    over = f" over {count} examples" if count else ""
    known = "no interval is known for it"
    if facts.record.validation.low is not None:
        share = "its interval is that of a share of so many examples"
        known = "its interval is what resampling the examples showed" if facts.resampled else share
    scored = "was scored once, at its end" if facts.record.test is not None else "was not scored with this model"
    return (
        f"The metric ({facts.metric.name}{side}) is that of the files, run by the runtimes named below{over}; {known}. "
        f"The search chose by the validation split; the test split {scored}."
    )


def _place(facts: CardFacts, name: str, file: FileRecord) -> dict[str, Any]:
    latency, folder = file.latency, file.file.rpartition("/")[0]
    interval = f"(95 % interval {latency.interval_text})"
    memory = "not known" if latency.peak_memory_mb is None else f"{latency.peak_memory_mb:.0f} MB"
    return {
        "target": name,
        "file": file.file,
        "folder": Ready(f"{folder}/" if folder else ""),
        "script": file.target.runtime in PACKAGES,
        "figures": [
            (f"{facts.metric.name}, validation split", facts.text(file.validation)),
            ("latency, p50", f"{ms_text(latency.p50_ms)} ms {interval}"),
            (
                "latency, p90 / p95 / p99",
                f"{ms_text(latency.p90_ms)} / {ms_text(latency.p95_ms)} / {ms_text(latency.p99_ms)} ms",
            ),
            ("size, compressed size", f"{file.size_bytes:,} bytes, {file.compressed_bytes:,} bytes"),
            ("operators", file.operators_in_words or "not known"),
            ("peak memory of a process that runs it", memory),
            *([("ranges of 8-bit activations", file.calibration)] if file.calibration else []),
            ("SHA-256", code(file.sha256)),
        ],
        "conditions": [(key, _plain(value)) for key, value in latency.conditions.items()],
        "operators": list(file.operators.items()),
        "remark": file.remark,
    }


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return "not known" if value is None else str(value)


def _made_of(facts: CardFacts) -> list[tuple[str, str]]:
    spec, settings = facts.spec, facts.settings
    bits, ways = Counter(spec.bits.values()), Counter(spec.activations.values())
    found = [
        ("teacher", facts.task.network or "not named"),
        ("data", _data_name(facts)),
        *([("student that it is cut from", spec.student)] if spec.student else []),
        ("channel groups that were shrunk", str(len(spec.channels))),
        *([("blocks that were dropped", ", ".join(spec.dropped))] if spec.dropped else []),
        *([("size of inputs", smaller_in_words(facts.inputs, spec.size))] if spec.size else []),
        *([("layers in two factors", _of_each(spec.factors))] if spec.factors else []),
        ("layers by bits", ", ".join(f"{n} in {b}" for b, n in sorted(bits.items())) or "all in 32"),
        *([("activations", ", ".join(f"{way} in {n}" for way, n in sorted(ways.items())))] if ways else []),
        ("layers with a sparsity pattern", str(len(spec.patterns))),
    ]
    if spec.recovery is None:
        return [*found, ("training", "none")]
    taught = spec.recovery
    words = f"distilled with temperature {taught.temperature:g}, weight {taught.alpha:g}{taught.aids_in_words()}"
    words += f", learning rate {taught.peak_rate:g}"
    words += " of AdamW" if taught.optimizer == "adamw" else ""
    words += ", quantization-aware" if taught.quantization_aware else ""
    words += " with learned steps" if taught.learned_steps else ""
    words += few_weights(taught) + beginning(taught)
    epochs = settings.recovery.epochs
    return [*found, ("training", words + (f", {epochs:g} epochs" if epochs else ""))]


def _of_each(factors: Mapping[str, Factor]) -> str:
    return ", ".join(f"{n} {kind}" for kind, n in sorted(Counter(f.kind for f in factors.values()).items()))


def _limits(facts: CardFacts) -> list[str]:
    files = facts.record.files.values()
    lines = [
        "Latency holds for the machine above: other machines have other figures, and often another order of models.",
        "It was judged on the data above alone. What it answers to other inputs was not looked at.",
    ]
    if any(not np.isclose(file.tolerance, 1e-3) for file in files):
        lines.append(
            "Numbers in few bits are rounded: on another kind of CPU answers differ a little (verify allows "
            f"{max(file.tolerance for file in files):.0%} of the largest)."
        )
    if cut := cut_in_words(facts.inputs, facts.spec.size):
        lines.append(cut)
    if facts.pickled:
        lines.append(
            "Weights are plain bytes, but the .pt2 archive holds example inputs that PyTorch reads with its restricted "
            "unpickler; a model of a study that was searched anew has none."
        )
    else:
        lines.append("Weights are data: no file here needs unpickling.")
    lines.append("License and intended use follow those of the teacher and its data; they are not known here.")
    return lines
