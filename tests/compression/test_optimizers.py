"""Which optimizer really teaches a student, and at which rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_recovery import Bench, Never

from autocompress.compression.recover import Recoverer
from autocompress.spaces.spec import ADAMW_PART

KINDS: dict[str, tuple[type[torch.optim.Optimizer], float]] = {
    "sgd": (torch.optim.SGD, 1.0),
    "adamw": (torch.optim.AdamW, ADAMW_PART),
}


@pytest.mark.parametrize("optimizer", KINDS)
def test_a_student_is_taught_by_the_optimizer_of_its_recovery_at_its_rate(
    optimizer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, step = Bench(), Recoverer._step
    used: list[tuple[type[torch.optim.Optimizer], float]] = []

    def seen(self: Recoverer, student: Any, module: Any, taken: torch.optim.Optimizer, *rest: Any) -> float:
        used.append((type(taken), taken.param_groups[0]["lr"]))
        return step(self, student, module, taken, *rest)

    monkeypatch.setattr(Recoverer, "_step", seen)
    assert bench.spec.recovery is not None
    spec = replace(bench.spec, recovery=replace(bench.spec.recovery, optimizer=optimizer))
    bench.recoverer.recover(bench.student(spec), spec, 1, tmp_path / "student.pt", Never)
    kind, part = KINDS[optimizer]
    assert used and {each for each, _ in used} == {kind}
    assert max(rate for _, rate in used) == pytest.approx(part * bench.spec.recovery.learning_rate, rel=0.1)
