"""Every executor, against the seam's own conformance suite."""

from __future__ import annotations

import pytest

from autocompress.errors import UnknownName
from autocompress.search.executors.base import Executor, ExecutorContext
from autocompress.search.executors.registry import EXECUTORS, make_executor
from autocompress.testing import ExecutorConformance


@pytest.mark.slow
class TestLocalExecutor(ExecutorConformance):
    def make_executor(self, context: ExecutorContext) -> Executor:
        return make_executor("local", context, 1)


@pytest.mark.slow
class TestProcessExecutor(ExecutorConformance):
    def make_executor(self, context: ExecutorContext) -> Executor:
        return make_executor("processes", context, 2)


@pytest.mark.slow
@pytest.mark.cluster
class TestRayExecutor(ExecutorConformance):
    def make_executor(self, context: ExecutorContext) -> Executor:
        pytest.importorskip("ray", reason="the extra 'ray' is not installed")
        return make_executor("ray", context, 2)


def test_every_built_in_executor_is_tried_here() -> None:
    assert {"local", "processes", "ray"} <= set(EXECUTORS.names())


def test_an_unknown_executor_is_answered_with_the_nearest() -> None:
    # the name is refused before the context is looked at
    with pytest.raises(UnknownName, match="did you mean 'processes'"):
        make_executor("process", None, 1)  # type: ignore[arg-type]
