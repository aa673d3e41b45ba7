"""What a study knows its task by, so that figures of another task never join it.

A study is resumed, and its workers build its task anew. Wherever a task is made, it is held against what the study was
begun with: its teacher, its metric, its splits, its calibration inputs, and the libraries that decide what is computed.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import math
import textwrap
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import MetricError, StorageError
from ..files import is_trouble, read_object, write_json
from ..spaces.inputs import divided, tensors_of
from ..studies.checkpoint import plain_bytes
from ..studies.data.images import ImageData
from ..studies.data.loaders import is_stream
from ..studies.data.sources import spread_labels
from ..studies.data.streams import StreamedData
from ..studies.data.tensors import MemoryData
from ..studies.kinds import KINDS
from ..studies.metric import Metric
from ..studies.task import PreparedTask
from ..studies.tracing import answers
from .forms import form_by_names, form_of

COMPARED = 64
"""Inputs of validation by which a metric is known again."""
ANSWERED = 8
"""Inputs of validation by which a forward pass is known again."""
MOST_NUMBERS = 64
"""Numbers of the teacher's answers that are kept."""
SAME_ANSWERS = 1e-3
"""Largest difference of answers, as a part of the largest: another number of threads adds in another order."""
DECIDING = ("torch", "onnx", "onnxscript")
"""Libraries whose version decides what a student computes and what file it becomes."""
FIGURES = ("metric", "metric on answers in reverse")
"""Of an identity: what `_metric` says."""
FILE = "identity.json"
STUDENTS = "students"
"""Of the user's own, with the form of each: not their weights, as the study keeps those that they begin with."""
FORMS = "form of student"
"""Begins the name of each, in full: studies of earlier versions only know the others, and are compared by those."""
OWN_METRICS = {kind.metric.function for kind in KINDS.values()}


def identity_of(task: PreparedTask) -> dict[str, str]:
    """Return how a task is known again, a text for each of its parts."""
    outputs = answers(task.teacher, task.validation.inputs(slice(0, COMPARED)))
    found = {"teacher": _weights(task)}
    splits: dict[str, MemoryData | StreamedData] = {
        "train": task.train, "validation": task.validation, "test": task.test
    }  # fmt: skip
    for name, data in splits.items():
        found[name] = _first_of(data)
    for name, data in splits.items():
        if content := _content(data):
            found[f"content of {name}"] = content
    if not isinstance(task.train, StreamedData):
        found["calibration inputs"] = _digest(*tensors_of(task.calibration))
    if task.early is not None:
        found["early weights"] = _digest(*(part for _, part in sorted(task.early.items())))
    if task.students:
        found[STUDENTS] = ", ".join(f"{name} {form_by_names(module)}" for name, module in task.students.items())
        found |= {f"{FORMS} {name}": form_of(module) for name, module in task.students.items()}
    found["metric"] = _metric(task, outputs)  # it differs with the data, too: that is the better thing to tell
    # a teacher that is right everywhere gives the same by many metrics; answers to other inputs do not
    found["metric on answers in reverse"] = _metric(task, outputs.flip(0))
    if code := _code(task.metric):
        found["metric's code"] = code
    found["answers"] = _numbers(outputs[:ANSWERED])
    return found | {f"version of {name}": version for name in DECIDING if (version := _version(name))}


def differences(before: Mapping[str, str], now: Mapping[str, str], forms: bool = True) -> list[tuple[str, str, str]]:
    """Return what of two identities differs: its name, what it was, and what it is now.

    What either of them does not know is no difference, but for students of the user's own: studies of older versions
    know less of their tasks.

    Args:
        before: What was known.
        now: What is known.
        forms: Whether students of the user's own must be the same ones.
    """
    found = []
    if forms and before and (was := before.get(STUDENTS, "")) != (are := now.get(STUDENTS, "")):
        found.append((STUDENTS, was or "none", are or "none"))  # other choices are another space
    for name, value in now.items():
        if name == STUDENTS:
            continue
        if name == "answers":
            if (apart := _apart(before.get(name), value)) > SAME_ANSWERS:
                found.append(("forward pass of the teacher", "", f"its answers differ by {apart:.2g} of the largest"))
        elif before.get(name, value) != value and not (name in FIGURES and _rounded_apart(before[name], value)):
            found.append((name, before[name], value))
    return found


def told(difference: tuple[str, str, str]) -> str:
    """Return a difference in words, to follow on "begun with"."""
    name, before, now = difference
    if name == STUDENTS:
        return f"other {_students_told(before, now)}"
    return f"another {name} ({before}, now {now})" if before else f"another {name} ({now})"


def _students_told(before: str, now: str) -> str:
    """Return in words how students of the user's own differ, of what `identity_of` says of them."""
    was, now_are = (
        dict(each.partition(" ")[::2] for each in text.split(", ") if " " in each) for text in (before, now)
    )
    if was.keys() == now_are.keys():
        changed = [name for name, form in was.items() if now_are[name] != form]
        return f"{STUDENTS}: {', '.join(changed)} {'is another network' if len(changed) == 1 else 'are others'} now"
    names = [", ".join(each) or "none" for each in (was, now_are)]
    return f"{STUDENTS} (in Task(students=...): {names[0]}; now {names[1]})"


def check_identity(
    folder: Path, task: PreparedTask, worker: bool = False, renew: Callable[[], None] | None = None
) -> None:
    """Refuse another task than the study was begun with: trials would not compare. A new study notes what it has.

    Args:
        folder: The study's folder.
        task: As this process has made it.
        worker: Whether this process works for a driver, which made the task of the study anew as well.
        renew: Forgets what was made of students of the user's own, of a study that may take others; None where it
            may not.

    Raises:
        StorageError: The task is another one.
    """
    path = folder / FILE
    before, now = _kept(path), identity_of(task)
    if before is None:
        write_json(path, now)
        return
    differing = differences(before, now)
    if not differing:
        if not worker and set(now) - set(before):
            write_json(path, {**now, **before})
        return
    if worker:
        raise StorageError(
            f"a worker process made another task than the search did: {told(differing[0])}; what makes the "
            "task must give the same each time: seed random_split, sort lists of files, start from the same weights"
        )
    if renew is not None and all(name == STUDENTS or name.startswith(FORMS) for name, _, _ in differing):
        renew()
        write_json(path, now)
        return
    raise StorageError(
        f"{folder} was begun with {told(differing[0])}: its trials would not compare; use --fresh, or give "
        "the task a name of its own"
    )


def _weights(task: PreparedTask) -> str:
    digest = hashlib.sha256()
    for held in plain_bytes(task.teacher):
        digest.update(held)
    return digest.hexdigest()[:16]


def _metric(task: PreparedTask, outputs: Tensor) -> str:
    """Return a metric's name, and what it says of a few answers, whose digits its code may not change."""
    label = task.metric.label
    try:
        value = f"{task.metric.value(outputs, task.validation.labels[: len(outputs)]):.3g}"
    except MetricError:
        value = "undefined"
    return f"{label.name} ({label.direction}), {value} on {len(outputs)} inputs"


def _rounded_apart(before: str, now: str) -> bool:
    """Tell whether two figures of one metric differ by rounding alone: another machine adds in another order."""
    (name, _, one), (same, _, other) = before.rpartition(", "), now.rpartition(", ")
    try:
        (first, of), (second, as_many) = (each.split(maxsplit=1) for each in (one, other))
        a, b = float(first), float(second)
    except ValueError:
        return False
    if not (math.isfinite(a) and math.isfinite(b)):
        return False
    last_digit = 10.0 ** (math.floor(math.log10(max(abs(a), abs(b), 1e-300))) - 2)
    return name == same and of == as_many and abs(a - b) < 1.5 * last_digit


def _code(metric: Metric) -> str:
    """Return what a user's metric does, but for its comments and layout; empty where its code cannot be read."""
    function: Any = metric.function
    if function in OWN_METRICS:
        return ""
    try:
        plain = inspect.isfunction(function) or inspect.ismethod(function)
        tree = ast.parse(textwrap.dedent(inspect.getsource(function if plain else type(function))))
    except (OSError, TypeError, SyntaxError):
        return ""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        first = body[0] if isinstance(body, list) and body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            body[:] = body[1:] or [ast.Pass()]  # type: ignore[index]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def _first_of(data: MemoryData | StreamedData) -> str:
    """Return the number of a split's items, and a digest of their labels and of the first inputs as networks see them.

    What is stored does not tell how it is normalised.
    """
    few = () if isinstance(data, StreamedData) else (data.labels, *tensors_of(data.inputs(slice(0, COMPARED))))
    digest = hashlib.sha256()
    for part in few:
        digest.update(part.contiguous().numpy().tobytes())
    return f"{len(data)} items, {digest.hexdigest()[:16]}"


def _content(data: MemoryData | StreamedData) -> str:
    """Return a digest of all inputs of a split; of a streamed one, of some labels. Empty where these are random."""
    if isinstance(data, StreamedData):
        labels = None if is_stream(data.source) else spread_labels(data.source, data.reading)
        return "" if labels is None else _digest(labels)
    stored = data.images if isinstance(data, ImageData) else data.stored
    return _digest(*(part for some in divided(stored, 1024) for part in tensors_of(some)))


def _digest(*parts: Tensor) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(str(part.dtype).encode() + part.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _kept(path: Path) -> dict[str, str] | None:
    """Return the identity that a study keeps; None where it keeps none.

    Whoever deleted a damaged one would let any task join the study.
    """
    damaged = f"{path}: damaged, holds no identity of a task; restore it from a copy, or use --fresh"
    try:
        found = read_object(path)
        if found is not None and all(isinstance(value, str) for value in found.values()):
            _answers(found.get("answers", ""))
            return found
    except StorageError as error:
        if is_trouble(error.__cause__):
            raise
        raise StorageError(damaged) from error
    except ValueError as error:
        raise StorageError(damaged) from error
    if found is None:
        return None
    raise StorageError(damaged)


def _answers(text: str) -> NDArray[np.float64]:
    return np.array([float(part) for part in text.split()])


def _numbers(outputs: Tensor) -> str:
    """Return some numbers of the teacher's answers, as a text."""
    rows = outputs.detach().float().reshape(len(outputs), -1)
    each = max(1, MOST_NUMBERS // max(1, len(rows)))
    columns = torch.linspace(0, rows.shape[1] - 1, min(each, rows.shape[1])).long()
    return " ".join(f"{value:.6g}" for value in rows[:, columns].flatten().tolist())


def _apart(before: str | None, now: str) -> float:
    """Return the largest difference of answers, as a part of the largest of those before."""
    if before is None:
        return 0.0
    try:
        one, other = _answers(before), _answers(now)
    except ValueError:
        return float("inf")  # of a recipe that somebody wrote
    if one.shape != other.shape:
        return float("inf")
    return float(np.abs(one - other).max() / max(float(np.abs(one).max()), 1e-6)) if len(one) else 0.0


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
