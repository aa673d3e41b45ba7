"""What memory a search will take, worked out before it is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ..compression.distill import LIMIT_BYTES
from ..errors import UsageError
from ..memory import available_bytes, gibibytes
from ..studies.data.streams import StreamedData
from ..studies.tracing import answers
from .evaluate.context import EvaluationContext

NOTED = 0.25
"""A search that will take less of the free memory than this says nothing of it."""


@dataclass(frozen=True)
class MemoryNeeded:
    """What memory a search will take beside what this process has already.

    Attributes:
        workers: Processes of their own; 0 where this process does all the work.
        process_bytes: Of one worker: what this process takes, which has the same data and libraries.
        answers_bytes: Of the teacher's answers to the training data, at most, in each process that trains.
    """

    workers: int
    process_bytes: int
    answers_bytes: int

    @property
    def total_bytes(self) -> int:
        """Of all processes together."""
        return max(1, self.workers) * self.answers_bytes + self.workers * self.process_bytes

    def words(self, free_bytes: int) -> str:
        """Return one line: what is needed, and what there is."""
        answers = f"{gibibytes(self.answers_bytes)} of the teacher's answers"
        each = f"{gibibytes(self.process_bytes)} and {answers} in each of {self.workers} workers"
        return f"{gibibytes(self.total_bytes)} ({each if self.workers else answers}), {gibibytes(free_bytes)} are free"


def memory_needed(context: EvaluationContext, workers: int) -> MemoryNeeded:
    """Return what a search will take.

    Args:
        context: The driver's own evaluation context, with its data.
        workers: Worker processes of this machine; 0 where there are none.
    """
    import psutil

    taken = int(psutil.Process().memory_info().rss)
    return MemoryNeeded(workers, taken if workers else 0, answers_bytes(context))


def answers_bytes(context: EvaluationContext) -> int:
    """Return what the teacher's answers will take, at most; see `compression.distill.Lessons`."""
    data, lessons = context.task.train, context.recoverer.lessons
    if isinstance(data, StreamedData) or not data.cacheable:
        return 0
    given = context.task.validation.inputs(slice(0, 1))
    of_one = lessons.lesson(0, 0, given, keep=False, aids=lessons.offered).nbytes
    return int(min(LIMIT_BYTES, of_one * len(data) * context.recoverer.schedule.epochs))


def check_memory(
    context: EvaluationContext, workers: int, say: Callable[[str], None], free_bytes: int | None = None
) -> None:
    """Say what memory a search will take where that is much; refuse to take more than there is.

    Args:
        context: The driver's own evaluation context.
        workers: Worker processes of this machine; 0 where there are none.
        say: Takes a line.
        free_bytes: What there is; looked up if None.

    Raises:
        UsageError: There is not enough.
    """
    needed, free = memory_needed(context, workers), available_bytes() if free_bytes is None else free_bytes
    if needed.total_bytes > free:
        mend = "lower --workers, or give fewer training items" if workers > 1 else "give fewer training items"
        raise UsageError(f"this search needs about {needed.words(free)}: {mend}")
    if needed.total_bytes > NOTED * free:
        say(f"memory: about {needed.words(free)}")


def check_answers(context: EvaluationContext, free_bytes: int | None = None) -> None:
    """Refuse splits whose answers do not fit into memory: a metric has all of them at once.

    Args:
        context: The driver's own evaluation context.
        free_bytes: What there is; looked up if None.

    Raises:
        UsageError: They do not fit.
    """
    task, free = context.task, available_bytes() if free_bytes is None else free_bytes
    of_one = answers(task.teacher, task.validation.inputs(slice(0, 1))).nbytes
    for name, count in (("validation", len(task.validation)), ("test", len(task.test))):
        if count * of_one > free:
            raise UsageError(
                f"the answers of a file to all {count} {name} inputs take {gibibytes(count * of_one)}, and "
                f"{gibibytes(free)} are free; allowed: up to {free // of_one} {name} items, or a network whose answers "
                "are smaller"
            )
