"""Kinds of tasks: what outputs and labels are, what a student is taught by, and what it is judged by."""

from __future__ import annotations

import functools
import itertools
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ..compression.losses import (
    CLASSIFICATION,
    Losses,
    bernoulli_divergence,
    categorical_divergence,
    squared_distance,
)
from .data.reading import IGNORED
from .metric import Metric, MetricLabel, mean_iou, micro_f1, rmse, sign_accuracy, top1

VOID = 255
"""What stands for no class in maps of classes."""
KindName = Literal["classification", "binary", "multilabel", "regression", "segmentation", "tokens", "language_model"]


@dataclass(frozen=True)
class Kind:
    """One kind of task.

    Attributes:
        outputs: The shape of outputs in words.
        labels: What labels are, in words.
        fits: Whether outputs [N, ...] and labels [N, ...] of some examples are of this kind.
        losses: Makes the losses, from labels of the training data (a sample of them).
        metric: What models are judged by where the task brings no metric.
        classes: Number of classes, from outputs; None where labels are no class numbers.
        valid: Whether all these labels have values that can be.
        positions: Whether labels have a number for each position of an input, as tokens and pixels do; None where they
            may.
        void: A number in labels of several dimensions that is no class, besides negative ones.
        leaves_out: Whether labels can say of a position that it does not count.
    """

    outputs: str
    labels: str
    fits: Callable[[Tensor, Tensor], bool]
    losses: Callable[[Tensor], Losses]
    metric: Metric
    classes: Callable[[Tensor], int] | None = None
    valid: Callable[[Tensor], bool] = lambda labels: True
    positions: bool | None = None
    void: int | None = None
    leaves_out: bool = True


def shifted(outputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the outputs [M, V] and the tokens [M] that they ought to tell: those of the next position.

    Args:
        outputs: Logits [N, T, V].
        labels: The tokens themselves, [N, T]; negative ones do not count.
    """
    outputs, labels = outputs[:, :-1].flatten(0, 1), labels[:, 1:].flatten()
    return outputs[labels >= 0], labels[labels >= 0]


def token_accuracy(outputs: Tensor, labels: Tensor) -> float:
    """Return the share of positions, 0 to 1, whose largest output [N, T, K] is at the label [N, T]."""
    return float((outputs.argmax(-1) == labels)[labels >= 0].double().mean())


def perplexity(outputs: Tensor, labels: Tensor) -> float:
    """Return the exponential of the mean cross entropy (nats) of the next token; see `shifted`."""
    total, count = 0.0, 0
    for some, wanted in zip(torch.split(outputs, 32), torch.split(labels, 32), strict=True):
        logits, tokens = shifted(some, wanted)
        total += float(F.cross_entropy(logits.double(), tokens, reduction="sum"))
        count += len(tokens)
    return float(torch.tensor(total / count).exp()) if count else math.nan


def _is_integer(labels: Tensor) -> bool:
    return not labels.is_floating_point() and not labels.is_complex()


def _yes_or_no(labels: Tensor) -> bool:
    return bool(((labels == 0) | (labels == 1)).all())


def _shares(labels: Tensor) -> bool:
    return (
        labels.is_floating_point()
        and labels.ndim == 2
        and bool((labels >= 0).all())
        and bool((labels.sum(1) - 1).abs().max() < 1e-3)
    )


def _classification(outputs: Tensor, labels: Tensor) -> bool:
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        return False
    return (labels.ndim == 1 and _is_integer(labels)) or (labels.shape == outputs.shape and _shares(labels))


def _maps(outputs: Tensor, labels: Tensor) -> bool:
    positions = outputs.shape[2:]
    fits = labels.shape[1:] in (positions, (1, *positions))
    return outputs.ndim >= 3 and fits and (_is_integer(labels) or _yes_or_no(labels))


def _cross_entropy(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the mean over the labels that count; 0 where none does, as in a batch whose labels are all unknown."""
    total = F.cross_entropy(outputs, labels, ignore_index=IGNORED, reduction="sum")
    return total / (labels != IGNORED).sum().clamp_min(1)


def _map_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    labels = labels.reshape(len(outputs), *outputs.shape[2:]).long()
    counted = (labels >= 0) & (labels != VOID)
    if outputs.shape[1] == 1:
        answers, wanted = outputs[:, 0][counted], labels[counted].float()
        return F.binary_cross_entropy_with_logits(answers, wanted, reduction="sum") / max(1, wanted.numel())
    return _cross_entropy(outputs, labels.masked_fill(~counted, IGNORED))


def _map_divergence(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    categorical = student.shape[1] > 1
    return (categorical_divergence if categorical else bernoulli_divergence)(student, teacher, temperature)


def _yes_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.binary_cross_entropy_with_logits(outputs.reshape(labels.shape), labels.to(outputs.dtype))


def _token_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    return _cross_entropy(outputs.flatten(0, -2), labels.masked_fill(labels < 0, IGNORED).flatten())


def _tokens_counted(outputs: Tensor, labels: Tensor) -> Tensor:
    return (labels >= 0).unsqueeze(-1)


def _next_tokens_counted(outputs: Tensor, labels: Tensor) -> Tensor:
    return F.pad(labels[:, 1:] >= 0, (0, 1), value=False).unsqueeze(-1)


def _pixels_counted(outputs: Tensor, labels: Tensor) -> Tensor:
    labels = labels.reshape(len(outputs), 1, *outputs.shape[2:])
    return (labels >= 0) & (labels != VOID)


def _next_token_loss(outputs: Tensor, labels: Tensor) -> Tensor:
    return _cross_entropy(*shifted(outputs, labels))


def _as_many(outputs: Tensor, labels: Tensor) -> bool:
    """Tell whether labels have a number for each output, in the same order: one shape is the other, or parts of it."""
    if outputs[0].numel() != labels[0].numel():
        return False
    # after how many numbers its rows, its planes and so on end
    ours, theirs = (
        set(itertools.accumulate((size for size in reversed(part.shape[1:]) if size > 1), operator.mul))
        for part in (outputs, labels)
    )
    return ours <= theirs or theirs <= ours


def _regression(labels: Tensor) -> Losses:
    # in units of the labels' spread, so that rates of learning fit whatever they are counted in
    scale = float(labels.double().var(unbiased=False)) or 1.0

    def hard(outputs: Tensor, wanted: Tensor) -> Tensor:
        return squared_distance(outputs.reshape(wanted.shape), wanted.to(outputs.dtype), scale).mean()

    return Losses(hard, lambda student, teacher, _: squared_distance(student, teacher, scale), precise=True)


_last = functools.partial(categorical_divergence, dim=-1)

KINDS: Mapping[KindName, Kind] = {
    "classification": Kind(
        "[N, K]",
        "class numbers [N] from 0 to K - 1, or shares [N, K]",
        _classification,
        lambda _: CLASSIFICATION,
        Metric(top1),
        lambda outputs: outputs.shape[1],
        lambda y: not y.is_floating_point() or _shares(y),
        positions=False,
    ),
    "binary": Kind(
        "[N] or [N, 1], a logit",
        "0 or 1, [N] or [N, 1]",
        lambda o, y: o[0].numel() == y[0].numel() == 1 and _yes_or_no(y),
        lambda _: Losses(_yes_loss, bernoulli_divergence),
        Metric(sign_accuracy),
        valid=_yes_or_no,
        positions=False,
    ),
    "multilabel": Kind(
        "[N, K], logits",
        "0 or 1, [N, K]",
        lambda o, y: o.ndim == 2 and o.shape == y.shape and _yes_or_no(y),
        lambda _: Losses(_yes_loss, bernoulli_divergence),
        Metric(micro_f1, MetricLabel("F1")),
        valid=_yes_or_no,
        positions=False,
    ),
    "regression": Kind(
        "[N] or [N, ...]",
        "numbers, as many for each input and in the order of the outputs",
        _as_many,
        _regression,
        Metric(rmse, MetricLabel("RMSE", "minimize")),
        valid=lambda y: bool(torch.isfinite(y.double()).all()),
        leaves_out=False,
    ),
    "segmentation": Kind(
        "[N, K, ...], one logit for each class and position",
        "class numbers [N, ...], of which 255 and negative ones do not count",
        _maps,
        lambda _: Losses(_map_loss, _map_divergence, counted=_pixels_counted),
        Metric(mean_iou, MetricLabel("mIoU")),
        lambda outputs: max(2, outputs.shape[1]),
        valid=lambda y: not y.is_floating_point() or _yes_or_no(y),
        positions=True,
        void=VOID,
    ),
    "tokens": Kind(
        "[N, T, K]",
        "class numbers [N, T], of which negative ones do not count",
        lambda o, y: o.ndim == 3 and o.shape[:2] == y.shape and _is_integer(y),
        lambda _: Losses(_token_loss, _last, counted=_tokens_counted),
        Metric(token_accuracy),
        lambda outputs: outputs.shape[-1],
        positions=True,
    ),
    "language_model": Kind(
        "[N, T, V]",
        "the tokens themselves, [N, T]; negative ones do not count",
        lambda o, y: o.ndim == 3 and o.shape[:2] == y.shape and _is_integer(y),
        lambda _: Losses(_next_token_loss, _last, counted=_next_tokens_counted),
        Metric(perplexity, MetricLabel("perplexity", "minimize")),
        lambda outputs: outputs.shape[-1],
        positions=True,
    ),
}


def kinds_that_fit(outputs: Tensor, labels: Tensor) -> list[str]:
    """Return the kinds that outputs [N, ...] and labels [N, ...] of some examples fit."""
    return [name for name, kind in KINDS.items() if kind.fits(outputs, labels)]
