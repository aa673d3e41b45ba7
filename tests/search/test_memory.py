"""What memory a search takes is known, and said or refused, before it is taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

from autocompress.errors import DataError, UsageError
from autocompress.memory import available_bytes
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.memory import answers_bytes, check_answers, check_memory
from autocompress.studies.data import sources
from autocompress.studies.data.sources import materialise

MANY = 1 << 50


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    free = available_bytes(tmp_path / "no groups here")
    assert 0 < free < MANY
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("900000\n")
    assert available_bytes(tmp_path) == 100_000
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 300000\n")
    assert available_bytes(tmp_path) == 400_000, "what is kept of files is given back"
    (tmp_path / "memory.max").write_text("max\n")
    assert available_bytes(tmp_path) > 400_000


@pytest.mark.parametrize("version", [1, 2])
def test_the_least_limit_of_the_groups_that_a_process_is_in_counts(tmp_path: Path, version: int) -> None:
    """As Slurm and systemd set them: on the group of a job, not on the root."""
    cgroup, process = tmp_path / "cgroup", tmp_path / "self"
    root = cgroup / "memory" if version == 1 else cgroup
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if version == 1 else ("memory.max", "memory.current")
    for name, limit, used in (("slurm", 900_000, 100_000), ("slurm/job_7", 500_000, 200_000), ("other", 10, 10)):
        (root / name).mkdir(parents=True)
        for file, value in zip(names, (limit, used), strict=True):
            (root / name / file).write_text(f"{value}\n")
    process.write_text("9:memory:/slurm/job_7/step\n4:cpu:/\n" if version == 1 else "0::/slurm/job_7/step\n")
    assert available_bytes(cgroup, process) == 300_000
    (root / "slurm" / names[1]).write_text("700000\n")
    assert available_bytes(cgroup, process) == 200_000


def test_a_split_that_has_no_room_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []

    class Counted(TensorDataset):
        def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
            read.append(index)
            return super().__getitem__(index)

    data = Counted(torch.zeros(1000, 3, 32, 32), torch.zeros(1000, dtype=torch.int64))
    monkeypatch.setattr(sources, "available_bytes", lambda: 20_000_000)
    with pytest.raises(DataError, match=r"validation split needs about .* of memory"):
        materialise(data)
    assert set(read) == {0}
    monkeypatch.setattr(sources, "available_bytes", lambda: 30_000_000)
    assert len(materialise(data)) == 1000


def test_a_search_says_what_it_needs_and_refuses_what_there_is_not(opened_context: ExecutorContext) -> None:
    said: list[str] = []
    context = opened_context.context
    check_memory(context, 0, said.append, MANY)
    check_memory(context, 4, said.append, MANY)
    assert not said
    with pytest.raises(UsageError, match=r"in each of 4 workers.*lower --workers"):
        check_memory(context, 4, said.append, 1 << 20)
    check_memory(context, 1, said.append, 3 << 30)
    assert len(said) <= 1 and all("1 workers" in line for line in said)


def test_a_split_whose_answers_have_no_room_is_refused_before_anything_is_trained(
    opened_context: ExecutorContext,
) -> None:
    """As maps of pixels may be: the system killed the search while the teacher was scored, without a word."""
    context = opened_context.context
    check_answers(context, MANY)
    with pytest.raises(
        UsageError, match=r"answers of a file to all \d+ validation inputs take .* allowed: up to \d"
    ) as told:
        check_answers(context, 100)
    assert "\n" not in str(told.value)


def test_the_teachers_answers_are_counted_as_they_are_kept(opened_context: ExecutorContext) -> None:
    context = opened_context.context
    recoverer, schedule = context.recoverer, context.recoverer.schedule
    lessons, steps = recoverer.lessons, schedule.steps(recoverer.data)
    kept = 0
    for epoch in range(int(schedule.epochs)):
        plan = recoverer.data.epoch_plan(epoch, schedule.batch_size, 0)
        for step in range(plan.steps):
            lesson = lessons.lesson(epoch, step, plan.batch(step)[0], keep=False)
            kept += lesson.outputs.nbytes + lesson.features.nbytes
    assert steps and kept <= answers_bytes(context) <= 1.2 * kept
