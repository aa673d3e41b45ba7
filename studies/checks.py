"""Checks of a task before anything is trained or measured, each answered in one line."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, fx, nn

from ..compression.graph_norms import norms_as_modules
from ..compression.losses import Losses
from ..compression.passes import inputs_at_once
from ..compression.precision import (
    autocast_context,
    module_to_training_layout,
    to_training_layout,
    training_device,
)
from ..errors import DataError, MetricError, one_line
from ..spaces.inputs import Inputs, call, count_of, divided, rows_of, tensors_of
from .data.images import ImageData
from .data.streams import StreamedData
from .data.tensors import MemoryData
from .kinds import KINDS
from .metric import Metric
from .tracing import answers

SPLIT_BYTES = 4 * 2**30
"""The most that the outputs for a split may take in memory."""
FEW = 8
"""Training examples that one step is tried on."""
LOOK = 1000
"""Validation examples that the metric is tried on, at most."""
LOOK_SECONDS, LOOK_BYTES = 3.0, 2**28
TOGETHER = 32
"""Examples that the teacher looks at together, at most."""
SHUFFLES = 16
CLEARLY, PERHAPS = 6.0, 3.0
"""Standard deviations of shuffled figures by which they are better, so that a metric is refused or remarked on."""
TELLING = 20
"""Examples from which on a teacher that is no better than chance is remarked on."""
COMPARED = 20000
"""Examples of each split that are looked for in the others, at most."""
FEW_EXAMPLES = 100
KNOWN = {kind.metric.function for kind in KINDS.values()}
"""Metrics whose direction is known."""
NO_GRADIENT = "the loss reaches no weight of the teacher: take detach() and no_grad() out of its forward pass"


def check_memory(splits: Mapping[str, int], each_bytes: int) -> None:
    """Refuse splits whose outputs do not fit into memory together, where the metric sees them.

    Args:
        splits: Number of items by name.
        each_bytes: Of the output for one item.

    Raises:
        DataError: One of them does not.
    """
    most = SPLIT_BYTES // max(1, each_bytes)
    for split, count in splits.items():
        if count > most:
            raise DataError(
                f"the outputs of {split} need {count * each_bytes / 2**30:.1f} GiB in memory, where the metric sees "
                f"them together: give at most {most} items, for instance by torch.utils.data.Subset"
            )


def check_training(graph: fx.GraphModule, train: MemoryData | StreamedData, losses: Losses, few: int = FEW) -> None:
    """Try one step of training on a copy: a forward pass in training mode, the losses, and a backward pass.

    Args:
        graph: The captured teacher.
        train: The training data.
        losses: Of the task.
        few: Examples in the batch; norms cannot learn from one.

    Raises:
        DataError: One of them fails, gives no finite number, or reaches no weight.
    """
    inputs, labels = train.epoch_plan(0, few, 0).batch(0)
    few = min(few, len(labels))
    inputs, labels = rows_of(inputs, slice(0, few)), labels[:few]
    if not any(True for _ in graph.parameters()):
        raise DataError("the teacher has no weights: there is nothing to compress")
    device = training_device()
    network = module_to_training_layout(norms_as_modules(copy.deepcopy(graph)), device).train()
    before = torch.get_rng_state()
    try:
        with autocast_context(device):
            outputs = call(network, to_training_layout(inputs, device)).float()
        if not outputs.requires_grad:
            raise DataError(NO_GRADIENT)
        hard = losses.hard(outputs, labels.to(device))
        soft = losses.divergence(outputs, outputs.detach() * 0.5, labels.to(device), 2.0)
        for name, loss in (("loss", hard), ("distillation", soft)):
            if loss.numel() != 1:
                raise DataError(f"the {name} of a batch has shape {list(loss.shape)}: it must be one finite number")
        (hard + soft).backward()  # type: ignore[no-untyped-call]
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"one step of training on {few} inputs of train fails: {type(error).__name__}: {one_line(error)}"
        ) from error
    finally:
        torch.set_rng_state(before)
    for name, loss in (("loss", hard), ("distillation", soft)):
        if not bool(torch.isfinite(loss)):
            got = f"{float(loss.detach()):g}"
            raise DataError(f"the {name} of the first training batch is {got}: it must be one finite number")
    if not any(p.grad is not None and bool(p.grad.abs().sum() > 0) for p in network.parameters()):
        raise DataError(NO_GRADIENT)


def look_at_metric(
    graph: nn.Module, validation: MemoryData, metric: Metric, classes: int | None, say: Callable[[str], None]
) -> float | None:
    """Try the metric on the teacher, and on the teacher's outputs in another order, which ought to be worse.

    Args:
        graph: The captured teacher.
        validation: The validation split, of which at most `LOOK` examples are looked at, in `LOOK_SECONDS`.
        metric: The metric.
        classes: Number of classes, None where labels are no class numbers.
        say: Takes a line about a metric that is hardly better for the right order.

    Returns:
        The teacher's metric as a search keeps it (higher is better); None where it is not defined on the part that was
        looked at.

    Raises:
        MetricError: It gives no number, or a better one for shuffled outputs.
    """
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(len(validation), generator=generator)[:LOOK].sort().values
    parts: list[Tensor] = []
    ends = time.monotonic() + LOOK_SECONDS
    for some in torch.split(rows, inputs_at_once(graph, validation.inputs(rows[:1]), TOGETHER)):
        parts.append(answers(graph, validation.inputs(some)))
        if time.monotonic() > ends or sum(part.nbytes for part in parts) > LOOK_BYTES:
            break
    outputs = torch.cat(parts)
    labels = validation.labels[rows[: len(outputs)]]
    try:
        right = metric.quality(outputs, labels)
    except MetricError as error:
        if len(outputs) < len(validation):
            return None  # a rare class need not be in a part
        raise MetricError(f"{error}{missing_classes(labels, classes)}") from error
    shuffled: list[float] = []
    for _ in range(SHUFFLES):
        if time.monotonic() > ends + LOOK_SECONDS and len(shuffled) > 2:
            break
        try:
            shuffled.append(metric.quality(outputs[torch.randperm(len(outputs), generator=generator)], labels))
        except MetricError:
            return right
    found = torch.tensor(shuffled, dtype=torch.float64)
    mean, label = float(found.mean()), metric.label
    excess = (mean - right) / max(float(found.std()), 1e-12)
    figures = f"metric {label.name!r} is {label.shown(right):.4g} on the teacher, {label.shown(mean):.4g} with outputs"
    if excess > CLEARLY and metric.function not in KNOWN:
        lower, other = ("lower", "minimize") if label.maximized else ("higher", "maximize")
        raise MetricError(f"{figures} shuffled, which is better: if {lower} is better, say metric_direction={other!r}")
    if excess > PERHAPS:
        say(f"careful: {figures} shuffled: is the teacher trained, and metric_direction right?")
    elif excess > -PERHAPS and len(outputs) >= TELLING:
        say(f"careful: {figures} shuffled, hardly a difference: is the teacher trained?")
    return right


def remarks_on_outputs(kind: str | None, outputs: Tensor) -> list[str]:
    """Return what a user ought to know of a teacher's outputs [B, ...], a line each."""
    within = bool(((outputs >= 0) & (outputs <= 1)).all())
    of_one = within and outputs.ndim == 2 and bool((outputs.sum(1) - 1).abs().max() < 1e-3)
    end = {"classification": "softmax" if of_one else "", "binary": "sigmoid", "multilabel": "sigmoid"}.get(kind or "")
    if not within or not end:
        return []
    return [
        "careful: the teacher's outputs look like probabilities, where losses and metric expect logits: take the "
        f"{end} off its end"
    ]


def missing_classes(labels: Tensor, classes: int | None) -> str:
    """Return "; class 7 has no items" of the classes that labels [N] lack, empty where none is missing."""
    if classes is None or labels.is_floating_point():
        return ""
    counted = labels[(labels >= 0) & (labels < classes)].flatten()
    missing = (torch.bincount(counted, minlength=classes) == 0).nonzero().flatten().tolist()
    if not missing:
        return ""
    named = f"class {missing[0]} has" if len(missing) == 1 else f"classes {', '.join(map(str, missing[:5]))} have"
    return f"; {named} no items in validation"


def remarks_on_splits(
    train: MemoryData | StreamedData, validation: MemoryData, test: MemoryData, classes: int | None
) -> list[str]:
    """Return what a user ought to know of the splits, a line each: shared examples, missing classes, few examples."""
    found = []
    splits: dict[str, MemoryData] = {"validation": validation, "test": test}
    if not isinstance(train, StreamedData):
        splits = {"train": train, **splits}
    seen = {name: _fingerprints(data) for name, data in splits.items()}
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        if first in seen and (shared := len(seen[first] & seen[second])):
            share = f"{shared} of {len(seen[second])}"
            found.append(f"careful: {share} different {second} inputs are in {first} too, so figures on them flatter")
    for name, data in splits.items():
        # in maps of classes there are too many numbers to count them for one remark
        asked = classes if name != "train" or data.labels.ndim == 1 else None
        if missing := missing_classes(data.labels, asked).replace("validation", name):
            found.append(f"careful: {missing.removeprefix('; ')}")
    for name in ("validation", "test"):
        if len(splits[name]) < FEW_EXAMPLES:
            found.append(f"careful: {name} has {len(splits[name])} items, so its figures are coarse")
    return found


def _fingerprints(data: MemoryData) -> set[int]:
    if len(data) == 0:
        return set()
    stored: Inputs = data.images if isinstance(data, ImageData) else data.stored
    count = min(COMPARED, count_of(stored))
    found = set()
    for some in divided(rows_of(stored, slice(0, count)), 256):
        rows = [part.reshape(len(part), -1).contiguous().numpy() for part in tensors_of(some)]
        found |= {hash(b"".join(part[i].tobytes() for part in rows)) for i in range(len(rows[0]))}
    return found
