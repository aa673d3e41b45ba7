"""Every executor, against the seam's own conformance suite."""

from __future__ import annotations

import pytest

from autocompress.errors import UnknownName
from autocompress.search.executors.base import Executor, Workplace
from autocompress.search.executors.registry import make_executor
from autocompress.testing.executor import ExecutorConformance


@pytest.mark.slow
class TestLocalExecutor(ExecutorConformance):
    def make_executor(self, workplace: Workplace) -> Executor:
        return make_executor("local", workplace, 1)


@pytest.mark.slow
class TestProcessExecutor(ExecutorConformance):
    def make_executor(self, workplace: Workplace) -> Executor:
        return make_executor("processes", workplace, 2)


@pytest.mark.slow
@pytest.mark.cluster
class TestRayExecutor(ExecutorConformance):
    def make_executor(self, workplace: Workplace) -> Executor:
        pytest.importorskip("ray", reason="the extra 'ray' is not installed")
        return make_executor("ray", workplace, 2)


def test_an_unknown_executor_is_answered_with_the_nearest() -> None:
    # the name is refused before the workplace is looked at
    with pytest.raises(UnknownName, match="did you mean 'processes'"):
        make_executor("process", None, 1)  # type: ignore[arg-type]
