"""Tables whose floating columns hold categories: files are timed on rows that there are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import autocompress
from autocompress.evaluators.artifact import ArtifactBuilder
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.templates import Templates
from autocompress.evaluators.timing.child import measure
from autocompress.evaluators.timing.processes import TimedFile, TimingRequest
from autocompress.evaluators.timing.real_inputs import keep_inputs
from autocompress.search.bundle.verify import verify
from autocompress.search.evaluate.target_session import timing_inputs
from autocompress.search.export import export
from autocompress.spaces.target import Target

SHOPS, FIRST = 8, 100
"""Shops have the numbers 100 to 107."""


class OfRows(nn.Module):
    """Takes rows of a shop's number and two amounts, [N, 3] float32."""

    def __init__(self) -> None:
        super().__init__()
        self.shops, self.inner, self.head = nn.Embedding(SHOPS, 16), nn.Linear(18, 32), nn.Linear(32, 2)

    def forward(self, rows: Tensor) -> Tensor:
        shop = self.shops(rows[:, 0].long() - FIRST)
        return self.head(self.inner(torch.cat([shop, rows[:, 1:]], 1)).relu())


def rows_of(count: int, seed: int) -> TensorDataset:
    g = torch.Generator().manual_seed(seed)
    shops = torch.randint(FIRST, FIRST + SHOPS, (count, 1), generator=g)
    amounts = torch.randn(count, 2, generator=g)
    labels = (amounts[:, 0] + 0.5 * (shops[:, 0] % 2) > 0).long()
    return TensorDataset(torch.cat([shops.float(), amounts], 1), labels)


def made_task() -> autocompress.Task:
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        network, train = OfRows(), rows_of(400, 0)
        optimizer = torch.optim.AdamW(network.parameters(), lr=0.02)
        for _ in range(60):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(train.tensors[0]), train.tensors[1]).backward()
            optimizer.step()
    return autocompress.Task(network.eval(), train, rows_of(150, 1), rows_of(150, 2), name="rows")


def test_a_file_is_timed_on_a_row_that_there_is(tmp_path: Path) -> None:
    """Random numbers are no shops: a runtime would look rows up that the table does not have."""
    task, target = made_task().bare().prepared(), Target("onnxruntime")
    runtime, path = get_runtime(target.runtime), tmp_path / "model.onnx"
    templates = Templates(task.teacher, task.example_input)
    samples = task.validation.inputs(slice(0, 4))
    ArtifactBuilder(runtime, target, templates, task.calibration, samples).teacher_file(path)
    file = TimedFile(path, target, timing_inputs(task, tmp_path))
    assert measure(TimingRequest((file,), max_rounds=0)).models[0].load_ms > 0


def test_a_study_goes_on_with_the_inputs_that_it_was_calibrated_on(tmp_path: Path) -> None:
    task = made_task().bare().prepared()
    assert timing_inputs(task, tmp_path, calibrated=True) is None, "an older version timed it on random numbers"
    kept = timing_inputs(task, tmp_path)
    assert kept is not None
    assert timing_inputs(task, tmp_path, calibrated=True) == kept


def test_random_numbers_stand_for_images_alone(tmp_path: Path) -> None:
    def kept(*parts: Any) -> list[Any]:
        path = keep_inputs(parts, tmp_path)
        if path is None:
            return []
        with np.load(path) as found:
            return [found[name] for name in found.files]

    images, lengths = np.zeros((1, 3, 8, 8), np.float32), np.array([5.0], np.float32)
    assert kept() == kept(images) == kept(images, images) == []
    for parts in ((np.ones((1, 4), np.float32),), (images, lengths), (images.astype(np.uint8),), (images[0],)):
        for found, given in zip(kept(*parts), parts, strict=True):
            assert found.dtype == given.dtype and np.array_equal(found, given)


@pytest.mark.slow
@pytest.mark.usefixtures("briefly")
def test_such_a_table_is_searched_saved_verified_and_exported(tmp_path: Path) -> None:
    task = made_task()
    front = autocompress.compress(
        task,
        trials=2,
        max_drop="50%",
        runs=tmp_path,
        target={"profile_seconds": 0.0, "learn_seconds": 0.0, "precision": 0.5},
        recovery={"epochs": 0.5},
        progress="none",
    )
    entry = front.entries[0]
    front.pick(max_drop="50%").save(tmp_path / "deploy")
    (found,) = verify(tmp_path / "deploy")
    assert found.latency is not None and found.difference is not None
    others = [name for name in ("pytorch", "openvino", "litert", "executorch") if get_runtime(name).available().ok]
    exports = export(front.folder, entry.number, others, tmp_path / "exports", task)
    assert {one.target: one.reason for one in exports.files if one.latency is None} == {}
