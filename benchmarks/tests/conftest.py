"""What the tests of benchmarks share: a tiny task on disk, and a study over it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partialmethod
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from autocompress.search.evaluate.context import EvaluationContext
    from autocompress.spaces.space import Space

TINY_TASK = Path(__file__).parents[2] / "tests" / "helpers" / "tiny_task.py"


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Calibrate in half a second, and train with one thread: more of them only wait for each other in tiny networks."""
    import torch

    from autocompress.evaluators.latency import LatencyMeter
    from autocompress.search.evaluate import target_session

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target_session, "CALIBRATIONS", 1)
        patch.setattr(LatencyMeter, "calibrate", partialmethod(LatencyMeter.calibrate, processes=1, max_seconds=0.5))
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tiny_task(quick: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A task file in a folder of its own; its teacher is trained when it is first read."""
    return Path(shutil.copy(TINY_TASK, tmp_path_factory.mktemp("task")))


@pytest.fixture(scope="module")
def tiny_study(tiny_task: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[EvaluationContext, Space]:
    """A study over the tiny task. Batches are large enough that widths differ in latency."""
    from autocompress.search.evaluate.context import open_context
    from autocompress.search.prepare.space import space_without_measuring
    from autocompress.studies.study_file import StudyFile

    settings = StudyFile().changed("task", **{"from": str(tiny_task)})
    settings = settings.changed("target", batch=32, precision=0.1)
    settings = settings.changed("recovery", epochs=0.5, rungs=(0.5, 1.0), batch_size=64)
    context = open_context(settings.build_task().prepared(), settings, tmp_path_factory.mktemp("study"))
    return context, space_without_measuring(context.network, settings)
