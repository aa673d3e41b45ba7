"""The executor does all that executors must."""

from __future__ import annotations

from autocompress_threads_executor import ThreadsExecutor

from autocompress.search.executors.base import ExecutorContext
from autocompress.testing import ExecutorConformance


class TestThreadsExecutor(ExecutorConformance):
    """Runs the conformance suite."""

    def make_executor(self, context: ExecutorContext) -> ThreadsExecutor:
        """Return the executor."""
        return ThreadsExecutor(context, 2)
