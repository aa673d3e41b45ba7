"""What every study begins with, in its order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.spec import StudentSpec
from .proposal import Proposal


class Planned:
    """A queue of proposals.

    Plans that share a training follow on each other as soon as it is done. While it runs, others come before them:
    they would only wait for it.
    """

    def __init__(self, space: Space, proposals: Iterable[Proposal]) -> None:
        """Hold proposals.

        Args:
            space: What their plans are points of.
            proposals: In their order.
        """
        self._space = space
        self._queue = deque((self._training(proposal.plan), proposal) for proposal in proposals)
        self._running: set[str] = set()
        self._done: set[str] = set()
        self._last = ""

    def __bool__(self) -> bool:
        """Tell whether anything is left."""
        return bool(self._queue)

    def put_first(self, proposal: Proposal) -> None:
        """Put a proposal before all others."""
        self._queue.appendleft((self._training(proposal.plan), proposal))

    def drop(self, is_unwanted: Callable[[Proposal], bool]) -> None:
        """Leave out what is not wanted any more."""
        self._queue = deque((training, each) for training, each in self._queue if not is_unwanted(each))

    @property
    def next(self) -> Proposal:
        """What comes next, of a queue that holds something."""
        return self._queue[self._place()][1]

    @property
    def follows(self) -> bool:
        """Whether what comes next shares the training of what was taken last, and finds it done."""
        training, _ = self._queue[self._place()]
        return training == self._last and training in self._done

    def take(self) -> Proposal:
        """Take what comes next."""
        place = self._place()
        self._last, proposal = self._queue[place]
        del self._queue[place]
        return proposal

    def begun(self, plan: Plan) -> None:
        """Take in that a plan is being tried."""
        training = self._training(plan)
        if training and training not in self._done:
            self._running.add(training)

    def heard(self, spec: StudentSpec, finished: bool) -> None:
        """Take in that the trial of a student waits or has ended."""
        self._running.discard(spec.training_key())
        if finished:
            self._done.add(spec.training_key())

    def _place(self) -> int:
        places = (
            i for i, (training, p) in enumerate(self._queue) if p.number is not None or training not in self._running
        )
        return next(places, 0)

    def _training(self, plan: Plan) -> str:
        """Return the key of what a plan trains; empty where it trains nothing."""
        spec = self._space.spec(plan)
        return "" if spec.recovery is None else spec.training_key()
