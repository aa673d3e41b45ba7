"""Kinds of tasks: losses that are zero where they ought to be, metrics that an outsider recomputes, and what fits."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score, root_mean_squared_error
from torch import Tensor
from torch.utils.data import TensorDataset

from autocompress.errors import MetricError
from autocompress.studies.kinds import KINDS, KindName, kinds_that_fit
from autocompress.studies.metric import MetricLabel, metric_of, rounded
from autocompress.studies.task import Task


def sample(kind: str, seed: int = 0, count: int = 12) -> tuple[Tensor, Tensor]:
    """Return outputs and labels of a kind."""
    g = torch.Generator().manual_seed(seed)

    def rand(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=g)

    def whole(high: int, *shape: int) -> Tensor:
        return torch.randint(high, shape, generator=g)

    made = {
        "classification": lambda: (rand(count, 5), whole(5, count)),
        "binary": lambda: (rand(count, 1), whole(2, count)),
        "multilabel": lambda: (rand(count, 4), whole(2, count, 4).float()),
        "regression": lambda: (rand(count, 1), 50 + 9 * rand(count)),
        "segmentation": lambda: (rand(count, 3, 6, 5), whole(3, count, 6, 5)),
        "tokens": lambda: (rand(count, 7, 4), whole(4, count, 7)),
        "language_model": lambda: (rand(count, 7, 9), whole(9, count, 7)),
    }
    return made[kind]()


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_fits_its_own_and_its_losses_teach(name: KindName) -> None:
    kind = KINDS[name]
    outputs, labels = sample(name)
    assert kind.fits(outputs, labels) and name in kinds_that_fit(outputs, labels)
    losses = kind.losses(labels)
    outputs.requires_grad_()
    loss = losses.hard(outputs, labels)
    assert loss.ndim == 0 and math.isfinite(float(loss.detach()))
    loss.backward()  # type: ignore[no-untyped-call]
    moved = outputs.detach() - 0.05 * outputs.grad * len(outputs)  # type: ignore[operator]
    assert losses.hard(moved, labels) < loss, "a step against the gradient helps"
    assert math.isfinite(kind.metric.quality(outputs.detach(), labels))


@pytest.mark.parametrize("name", KINDS)
@given(seed=st.integers(0, 1000), temperature=st.floats(0.5, 8))
def test_a_divergence_is_zero_for_the_teacher_alone(name: KindName, seed: int, temperature: float) -> None:
    outputs, labels = sample(name, seed, 4)
    other, _ = sample(name, seed + 1, 4)
    soft = KINDS[name].losses(labels).soft
    same, apart = soft(outputs, outputs, temperature), soft(other, outputs, temperature)
    assert same.shape == apart.shape == (4,)
    assert torch.allclose(same, torch.zeros(4), atol=1e-5)
    assert bool((apart >= -1e-5).all()) and float(apart.sum()) > 0


def test_metrics_are_those_of_scikit_learn() -> None:
    outputs, labels = sample("multilabel", count=50)
    assert KINDS["multilabel"].metric.value(outputs, labels) == pytest.approx(
        f1_score(labels.numpy(), (outputs > 0).numpy(), average="micro")
    )
    outputs, labels = sample("regression", count=50)
    assert KINDS["regression"].metric.value(outputs, labels) == pytest.approx(
        root_mean_squared_error(labels.numpy(), outputs[:, 0].numpy()), rel=1e-6
    )
    outputs, labels = sample("segmentation")
    assert KINDS["segmentation"].metric.value(outputs, labels) == pytest.approx(
        jaccard_score(labels.flatten().numpy(), outputs.argmax(1).flatten().numpy(), average="macro")
    )
    outputs, labels = sample("language_model")
    nats = F.cross_entropy(outputs[:, :-1].flatten(0, 1).double(), labels[:, 1:].flatten())
    assert KINDS["language_model"].metric.value(outputs, labels) == pytest.approx(float(nats.exp()), rel=1e-6)


def test_positions_that_do_not_count_change_nothing() -> None:
    outputs, labels = sample("segmentation")
    hidden = labels.clone()
    hidden[:, :2] = 255
    changed = outputs.clone()
    changed[:, :, :2] = torch.randn_like(changed[:, :, :2])
    kind = KINDS["segmentation"]
    assert kind.metric.value(outputs, hidden) == kind.metric.value(changed, hidden)
    assert torch.allclose(kind.losses(labels).hard(outputs, hidden), kind.losses(labels).hard(changed, hidden))
    outputs, labels = sample("tokens")
    hidden = labels.clone()
    hidden[:, 4:] = -100
    changed = outputs.clone()
    changed[:, 4:] += 3 * torch.randn_like(changed[:, 4:])
    kind = KINDS["tokens"]
    assert kind.metric.value(outputs, hidden) == kind.metric.value(changed, hidden)
    assert torch.allclose(kind.losses(labels).hard(outputs, hidden), kind.losses(labels).hard(changed, hidden))


def test_losses_of_regression_have_no_unit() -> None:
    outputs, labels = sample("regression")
    in_millimetres = KINDS["regression"].losses(1000 * labels).hard(1000 * outputs, 1000 * labels)
    assert torch.allclose(in_millimetres, KINDS["regression"].losses(labels).hard(outputs, labels), rtol=1e-4)


def test_a_metric_that_is_minimized_is_kept_with_a_minus_sign() -> None:
    outputs, labels = sample("regression")
    metric = KINDS["regression"].metric
    assert metric.quality(outputs, labels) == -metric.value(outputs, labels)
    for label in (MetricLabel(), MetricLabel("RMSE", "minimize")):
        assert label.shown(label.kept(3.5)) == 3.5
    assert MetricLabel("RMSE", "minimize").text(-53.21678) == "53.22"
    assert np.isclose(float(MetricLabel().text(0.98765)), 0.9877)
    assert MetricLabel("MSE", "minimize").text(-3.21e-5) == "0.00003210"


@given(st.floats(1e-6, 1e4), st.sampled_from(["maximize", "minimize"]))
def test_a_limit_that_is_advised_is_met(value: float, direction: str) -> None:
    label = MetricLabel("m", direction)  # type: ignore[arg-type]
    advised = float(label.lenient(label.kept(value)))
    assert label.kept(value) >= label.kept(advised) and advised == pytest.approx(value, rel=0.02, abs=1e-4)


@given(st.floats(-1e6, 1e6), st.integers(0, 6), st.booleans())
def test_a_number_is_rounded_to_the_side_that_is_asked_for(value: float, digits: int, up: bool) -> None:
    text = rounded(value, digits, up)
    assert (float(text) >= value) if up else (float(text) <= value)
    assert abs(float(text) - value) <= 1.01 * 10**-digits and len(text.partition(".")[2]) == digits
    assert rounded(0.7, 4, up=False) == "0.7000" and rounded(11.700000000000001, 3, up=True) == "11.701"


def test_a_metric_cannot_change_what_it_is_given() -> None:
    outputs, labels = torch.eye(3), torch.arange(3)

    def spoils_labels(outputs: Tensor, labels: Tensor) -> float:
        return float(labels.fill_(1).float().mean())

    def spoils_outputs(outputs: Tensor, labels: Tensor) -> float:
        return float(outputs.mul_(2).mean())

    assert metric_of(spoils_labels).value(outputs, labels) == 1 and labels.tolist() == [0, 1, 2]
    with pytest.raises(MetricError, match="'spoils_outputs' changes the outputs"):
        metric_of(spoils_outputs).value(outputs, labels)


def test_shares_are_exact() -> None:
    labels = torch.arange(300) % 2
    said = torch.where(torch.arange(300) < 264, labels, 1 - labels)
    both = F.one_hot(said, 2).float()
    assert KINDS["classification"].metric.value(both, labels) == 264 / 300
    assert KINDS["binary"].metric.value(said.float() - 0.5, labels) == 264 / 300
    assert KINDS["tokens"].metric.value(both.view(30, 10, 2), labels.view(30, 10)) == 264 / 300


@pytest.mark.parametrize("name", ["segmentation", "tokens", "language_model"])
def test_any_negative_label_does_not_count(name: KindName) -> None:
    outputs, labels = sample(name)
    one, other = labels.clone(), labels.clone()
    one[:, 3:], other[:, 3:] = -1, -100
    losses, metric = KINDS[name].losses(labels), KINDS[name].metric
    assert torch.equal(losses.hard(outputs, one), losses.hard(outputs, other))
    assert metric.value(outputs, one) == metric.value(outputs, other)


@pytest.mark.parametrize("name", ["segmentation", "tokens", "language_model"])
def test_a_teacher_is_followed_only_where_something_counts(name: KindName) -> None:
    student, labels = sample(name, 1)
    teacher, _ = sample(name, 2)
    losses = KINDS[name].losses(labels)
    whole = losses.divergence(student, teacher, labels, 2.0)
    left_out = torch.rand(labels.shape, generator=torch.Generator().manual_seed(3)) < 0.6
    padded = labels.masked_fill(left_out, -100)
    some = losses.divergence(student, teacher, padded, 2.0)
    if name == "segmentation":
        elsewhere, positions = left_out.unsqueeze(1), (0, 2, 3, 1)
    else:  # the answer at a position is about the next token
        shifted = torch.cat([left_out[:, 1:], torch.ones(len(labels), 1, dtype=torch.bool)], 1)
        elsewhere, positions = (shifted if name == "language_model" else left_out).unsqueeze(2), (0, 1, 2)
    changed = torch.where(elsewhere, torch.randn(student.shape), student)
    torch.testing.assert_close(losses.divergence(changed, teacher, padded, 2.0), some)
    assert abs(float(whole - some)) > 1e-4
    counted = ~elsewhere.permute(positions).squeeze(-1)
    each = losses.soft(student.permute(positions)[counted], teacher.permute(positions)[counted], 2.0)
    torch.testing.assert_close(each.mean(), some)
    nothing = losses.divergence(student, teacher, torch.full_like(labels, -100), 2.0)
    assert float(nothing) == 0.0


def test_numbers_of_regression_are_kept_precise_with_a_loss_of_ones_own() -> None:
    inputs = torch.randn(60, 4)
    data = TensorDataset(inputs, inputs.sum(1))
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1)).eval()
    for loss in (None, lambda outputs, labels: (outputs[:, 0] - labels).abs().mean()):
        assert Task(net, data, data, data, kind="regression", loss=loss).prepared().losses.precise


@pytest.mark.parametrize("name", ["segmentation", "tokens", "language_model"])
def test_a_batch_in_which_nothing_counts_teaches_nothing_and_is_worth_nothing(name: KindName) -> None:
    outputs, labels = sample(name)
    kind, nothing = KINDS[name], torch.full_like(labels, -100)
    for each in (outputs, outputs[:, :1]) if name == "segmentation" else (outputs,):
        answers = each.clone().requires_grad_()
        loss = kind.losses(labels).hard(answers, nothing)
        loss.backward()  # type: ignore[no-untyped-call]
        assert float(loss.detach()) == 0.0 and answers.grad is not None and not answers.grad.any()
    with pytest.raises(MetricError, match="returned nan"):
        kind.metric.quality(outputs, nothing)


@pytest.mark.parametrize(
    ("outputs", "labels", "fits"),
    [
        ((4, 34), (4, 17, 2), True),
        ((4, 1, 8, 6), (4, 8, 6), True),
        ((4, 12, 5), (4, 3, 4, 5), True),
        ((4, 3, 8, 6), (4, 8, 6, 3), False),
        ((4, 2, 3), (4, 3, 2), False),
        ((4, 6), (4, 5), False),
        ((4,), (4, 1), True),
    ],
)
def test_numbers_of_regression_lie_in_the_order_of_the_outputs(
    outputs: tuple[int, ...], labels: tuple[int, ...], fits: bool
) -> None:
    assert KINDS["regression"].fits(torch.zeros(outputs), torch.zeros(labels)) == fits


def test_masks_of_segmentation_are_whole_numbers() -> None:
    mask = torch.tensor([[[[0.0, 1.0], [1.0, 0.0]]]])
    assert KINDS["segmentation"].valid(mask) and not KINDS["segmentation"].valid(mask * 0.5)


@pytest.mark.parametrize("name", ["segmentation", "tokens", "language_model", "yes-or-no maps"])
def test_a_batch_in_which_no_label_counts_teaches_nothing(name: str) -> None:
    outputs, labels = sample("segmentation" if name == "yes-or-no maps" else name)
    if name == "yes-or-no maps":
        name, outputs, labels = "segmentation", outputs[:, :1], labels % 2
    losses = KINDS[name].losses(labels)  # type: ignore[index]
    outputs = outputs.clone().requires_grad_()
    loss = losses.hard(outputs, torch.full_like(labels, -100))
    loss.backward()  # type: ignore[no-untyped-call]
    assert float(loss.detach()) == 0 and outputs.grad is not None and not outputs.grad.any()
    some = labels.clone()
    some[1:] = -1
    alone = losses.hard(outputs[:1], labels[:1])
    torch.testing.assert_close(losses.hard(outputs, some), alone)
