"""What a job made is gone when it is done: networks are large, and their graphs refer to themselves."""

from __future__ import annotations

import gc

import pytest
from torch import fx

from autocompress.search.evaluate import evaluation
from autocompress.search.evaluate.job import Job
from autocompress.search.executors.base import ExecutorContext
from autocompress.spaces.spec import StudentSpec


def graphs() -> int:
    return sum(issubclass(type(each), fx.GraphModule) for each in gc.get_objects())


def test_students_of_large_networks_do_not_wait_in_memory(
    opened_context: ExecutorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = opened_context.context
    monkeypatch.setattr(evaluation, "LARGE_BYTES", 0)  # as if the tiny one were large
    job = Job(911, StudentSpec({g.name: g.channels // 2 for g in context.network.groups}), "look")
    gc.collect()
    gc.disable()  # it comes by the number of objects, at any time
    try:
        before = graphs()
        for _ in range(3):
            assert evaluation.evaluate(context, job).accuracy is not None
        assert graphs() <= before
    finally:
        gc.enable()
