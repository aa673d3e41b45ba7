"""What is in a bundle, and how it is written."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import AutoCompressError, StorageError
from ...evaluators.runtimes.registry import get_runtime
from ...evaluators.score import predict
from ...files import PARTIAL, copy, digest, disk_errors, write_bytes, write_json
from ...spaces.target import PerTarget, Target
from ...studies.preprocessing import Preprocessing
from ...studies.study_file import StudyFile
from ..report.entry import Entry
from ..report.front import Front
from ..report.intact import not_as_measured, refuse_inside_a_study
from ..report.intervals import MetricIntervals, speed_up, split_sizes
from ..store.facts import TaskFacts, read_facts
from ..store.samples import Samples, read_answers, read_samples
from ..store.settings import read_settings
from ..trial import Origin
from .checksums import write_checksums
from .model_card import CardFacts, model_card
from .own_recipes import remember_recipe
from .recipe import read_recipe, recipe_text
from .record import TOLERANCES, Figure, FileRecord, Record, SampleRecord, write_record
from .replacing import put_in_place
from .scripts import PACKAGES, ScriptFacts, infer_script, openvino_precision, requirements

TOKENIZER = "tokenizer.json"
"""What a tokenizer that is a file is called in a bundle."""


@dataclass(frozen=True)
class _Source:
    """Everything that a bundle is made of.

    Attributes:
        front: The study's front.
        entry: The model, with the files of this bundle alone.
        paths: These files in the study, by target.
        settings: Of the study.
        facts: What the study knows of its task.
        sizes: Examples by split.
        samples: Of the study, None where it kept none.
    """

    front: Front
    entry: Entry
    paths: PerTarget[Path]
    settings: StudyFile
    facts: TaskFacts
    sizes: Mapping[str, int]
    samples: Samples | None

    @property
    def inputs(self) -> Mapping[str, NDArray[Any]]:
        """The sample inputs [k, ...] by name; k is 0 without samples. Empty where their shapes were not kept either."""
        if self.samples is not None:
            return self.samples.inputs
        return {each.name: np.empty((0, *each.shape), each.dtype) for each in self.facts.inputs}

    def figure(self, quality: float, split: str, sd: float | None = None) -> Figure:
        """Return a metric as it is shown, with its interval."""
        found = MetricIntervals.of_share(self.facts, self.sizes).around(quality, split, sd)
        return Figure(found.value, found.low, found.high, self.sizes.get(split))

    @property
    def preprocessing(self) -> Preprocessing:
        """What is known of it. A tokenizer that is a file is named as it is shipped."""
        known = self.facts.preprocessing or Preprocessing()
        return replace(known, tokenizer=TOKENIZER) if known.tokenizer.endswith(".json") else known


def write_bundle(
    front: Front, entry: Entry, out: Path, add: Callable[[Path], None] | None = None, only: str | None = None
) -> PerTarget[Path]:
    """Write a folder that stands alone, with the files of one model; what an earlier bundle left there is replaced.

    Args:
        front: The front.
        entry: The model.
        out: The folder. Files of several targets go into folders named after the targets.
        add: Adds files of its own to the bundle before its checksums are taken.
        only: Name of the only target whose file is wanted; None for all.

    Returns:
        The model files, by target.

    Raises:
        UsageError: The folder is a study's, or a file would be lost that no earlier bundle wrote.
        StorageError: A file of the study is gone or was changed, or the disk is full or cannot be written.
    """
    refuse_inside_a_study(out)
    paths = {name: path for name, path in front.paths(entry).items() if only in (None, name)}
    if reason := not_as_measured(front.folder, entry):
        raise StorageError(reason)
    facts, sizes = read_facts(front.folder), split_sizes(front.folder)
    samples = read_samples(front.folder)
    source = _Source(front, entry.on(paths), paths, read_settings(front.folder), facts, sizes, samples)
    with disk_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=out) as held:
            folder = Path(held)
            files = _write(source, folder)
            if add is not None:
                add(folder)
            write_checksums(folder)
            recipe = read_recipe(folder / "recipe.toml")
            put_in_place(folder, out)
    remember_recipe(recipe, front.folder, source.settings)
    return {name: out / file for name, file in files.items()}


def _write(source: _Source, folder: Path) -> PerTarget[str]:
    several = len(source.paths) > 1
    files = {name: f"{name}/{path.name}" if several else path.name for name, path in source.paths.items()}
    for name, path in source.paths.items():
        copy(path, folder / files[name])
        weights = path.with_name(path.name + ".data")  # of an ONNX file of more than 2 GB
        if weights.is_file():
            copy(weights, folder / f"{files[name]}.data")
    samples, inputs = _write_samples(source, folder, files), source.inputs
    write_json(folder / "labels.json", list(source.facts.labels))
    write_json(folder / "preprocessing.json", _preprocessing(source, inputs))
    _copy_tokenizer(source, folder)
    record = _record(source, folder, files, samples)
    write_record(folder, record)
    trial = source.entry.trial
    write_json(
        folder / "plan.json", {"choices": dict(trial.plan.choices), "spec": asdict(trial.spec), "seed": trial.seed}
    )
    write_bytes(folder / "recipe.toml", recipe_text(source.front, source.entry, source.settings, record).encode())
    scripts = {}
    for name, file in files.items():
        scripts[name] = _script_facts(source, name, file, inputs)
        beside = (folder / file).parent
        if scripts[name].target.runtime in PACKAGES:  # plug-ins have none
            write_bytes(beside / "infer.py", infer_script(scripts[name]).encode())
            write_bytes(beside / "requirements.txt", requirements(scripts[name]).encode())
    pickled = any(_holds_pickles(path) for path in source.paths.values())
    facts = replace(source.facts, preprocessing=source.facts.preprocessing and source.preprocessing)
    resampled = source.entry.quality_sd is not None
    card = CardFacts(record, source.settings, facts, trial.plan, trial.spec, inputs, scripts, pickled, resampled)
    write_bytes(folder / "README.md", model_card(card).encode())
    return files


def _script_facts(source: _Source, name: str, file: str, inputs: Mapping[str, NDArray[Any]]) -> ScriptFacts:
    target = _target(source, name)
    version = str(source.entry.latencies[name].conditions.get("runtime_version", ""))
    precision = openvino_precision(source.paths[name]) if target.runtime == "openvino" else "f32"
    kinds = {key: str(part.dtype) for key, part in inputs.items()} or {"input": "float32"}
    shapes = {key: part.shape[1:] for key, part in inputs.items()}
    shared = "../" if "/" in file else ""
    return ScriptFacts(
        Path(file).name, shared, target, version, source.facts.kind, source.preprocessing, kinds, precision, shapes
    )


def _target(source: _Source, name: str) -> Target:
    return next(target for target in source.settings.target.targets() if target.name == name)


def _write_samples(source: _Source, folder: Path, files: PerTarget[str]) -> SampleRecord | None:
    """Write `samples.npz`; return what is said of it, None where the study kept none."""
    samples = source.samples
    if samples is None:
        return None
    known = read_answers(source.front.folder, source.entry.number)
    said = "when the model was measured, by its runtime"
    if set(known) < set(files):
        known, said = _answers_now(source, samples)
    arrays = {f"input:{name}": part for name, part in samples.inputs.items()}
    arrays |= {f"answer:{name}": part for name, part in known.items()}
    with (folder / "samples.npz").open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    rows = tuple(int(row) for row in samples.rows)
    return SampleRecord("validation", rows, tuple(samples.inputs), said)


def _answers_now(source: _Source, samples: Samples) -> tuple[PerTarget[NDArray[Any]], str]:
    """Return answers that were not kept, and when they were computed: those of a trial of an earlier version."""
    output, known = source.facts.output, dict[str, NDArray[Any]]()
    if output is not None and not samples.answered(output.bytes_of_one):
        return known, "not at all: they are too large to keep"
    said = "when this bundle was written, by its runtime"
    for name, path in source.paths.items():
        target = _target(source, name)
        try:
            known[name] = predict(path, get_runtime(target.runtime), target, tuple(samples.inputs.values()))
        except AutoCompressError:
            said = "not at all: its runtime is not here"
    return known, said


def _preprocessing(source: _Source, inputs: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    known = source.preprocessing
    picture = {key: getattr(known, key) for key in ("size", "channels", "scale", "mean", "std", "layout")}
    text = {"tokenizer": known.tokenizer, "length": known.length}
    return {
        "inputs": [
            {"name": name, "shape": list(part.shape[1:]), "dtype": str(part.dtype)} for name, part in inputs.items()
        ],
        "picture": picture if known.size is not None else None,
        "text": text if known.tokenizer else None,
    }


def _copy_tokenizer(source: _Source, folder: Path) -> None:
    named = source.facts.preprocessing.tokenizer if source.facts.preprocessing else ""
    if not named.endswith(".json"):
        return
    path = source.settings.folder / named
    if not path.is_file():
        raise StorageError(f"{path}: the task's tokenizer is gone; put it there again")
    copy(path, folder / TOKENIZER)


def _record(source: _Source, folder: Path, files: PerTarget[str], samples: SampleRecord | None) -> Record:
    entry, front = source.entry, source.front
    teachers = [e.on(files) for e in front.entries if e.trial.origin is Origin.TEACHER]
    teacher = max(teachers, key=lambda e: len(e.trial.measured.keys() & files.keys()), default=None)
    bits = min((32, *entry.trial.spec.bits.values()))
    described = {}
    for name, file in files.items():
        measured, latency = entry.trial.measured[name], entry.reported[name]
        # a bundle is given away: the name of the machine is nobody's business
        conditions = {key: value for key, value in latency.conditions.items() if key != "host"}
        described[name] = FileRecord(
            file=file,
            sha256=digest(folder / file),
            size_bytes=measured.size_bytes,
            compressed_bytes=measured.compressed_bytes,
            target=_target(source, name),
            validation=source.figure(measured.accuracy, "validation", measured.accuracy_sd),
            latency=replace(latency, conditions=conditions),
            operators=measured.operators,
            tolerance=TOLERANCES[bits],
            remark=measured.remark,
            written=measured.written,
            calibration=measured.calibration,
        )
    times = speed_up(entry.reported_latency)
    return Record(
        study=front.folder.name,
        trial=entry.number,
        origin=entry.trial.label,
        kind=source.facts.kind,
        metric=asdict(entry.metric),
        validation=source.figure(entry.quality, "validation", entry.quality_sd),
        test=None if entry.test_quality is None else source.figure(entry.test_quality, "test"),
        teacher=None if teacher is None else source.figure(teacher.quality, "validation", teacher.quality_sd),
        speed_up=times.value,
        speed_up_interval=times.ends,
        files=described,
        samples=samples,
    )


def _holds_pickles(path: Path) -> bool:
    """Tell whether an archive of PyTorch holds more than weights as plain bytes and JSON."""
    if path.suffix != ".pt2":
        return False
    with zipfile.ZipFile(path) as archive:
        for part in archive.infolist():
            name = part.filename
            if name.endswith("_config.json") and b'"use_pickle": true' in archive.read(part):
                return True
            if ("/sample_inputs/" in name and part.file_size) or "/constants/custom_obj" in name:
                return True
    return False
