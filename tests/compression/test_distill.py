"""The loss that students are taught by."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autocompress.compression.distill import Lesson, distillation_loss
from autocompress.spaces.spec import Recovery


def softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


@given(
    temperature=st.floats(1, 10),
    alpha=st.floats(0, 1),
    weight=st.floats(0, 1),
    seed=st.integers(0, 999),
    cut=st.booleans(),
)
def test_the_loss_is_the_published_formula(
    temperature: float, alpha: float, weight: float, seed: int, cut: bool
) -> None:
    random = np.random.default_rng(seed)
    own, teacher = (3 * random.standard_normal((6, 5)) for _ in range(2))
    labels = random.integers(0, 5, 6)
    features, wanted = random.standard_normal((6, 4)), random.standard_normal((6, 7))
    kept = [0, 2, 3, 6]
    wanted_here = wanted[:, kept] if cut else wanted[:, :4]
    p, q = softmax(teacher / temperature), softmax(own / temperature)
    kl = (p * np.log(p / q)).sum(1).mean()
    cross_entropy = -np.log(softmax(own)[np.arange(6), labels]).mean()
    distance = ((features - wanted_here) ** 2).mean() / (wanted_here**2).mean()
    expected = alpha * temperature**2 * kl + (1 - alpha) * cross_entropy + weight * distance
    got = distillation_loss(
        Recovery(temperature, alpha, 0.1, weight),
        torch.tensor(own, dtype=torch.float32),
        torch.tensor(labels),
        Lesson(torch.tensor(teacher, dtype=torch.float32), torch.tensor(wanted if cut else wanted_here).float()),
        torch.tensor(features, dtype=torch.float32),
        kept if cut else None,
    )
    assert float(got) == pytest.approx(expected, rel=1e-4, abs=1e-5)
