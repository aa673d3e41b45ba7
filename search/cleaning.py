"""Cleaning a study that no search has open, and keeping the checkpoints of a running one below a limit."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files import read_object
from ..studies.study_file import StudyFile
from .clean import UNFINISHED, Spare, checkpoint_bytes, spare_files, take_away, waiting_checkpoints
from .evaluate.context import LOOK_EXAMPLES
from .feasibility import Limits
from .objectives import objectives_of
from .promotion import Promotion
from .store.access import access_alone
from .store.facts import read_facts
from .store.settings import read_settings
from .store.trials import TrialStore
from .trial import Trial

FEWEST_EXAMPLES = 100
"""Taken for the validation examples of a study that does not say how many it has: few let nothing seem hopeless."""
PAUSE_S = 30.0
"""Seconds between two looks at the disk, at least."""
ROOM = 0.8
"""Of the limit, what checkpoints may take after some were taken away."""


@dataclass(frozen=True)
class Cleaning:
    """What can go from a study.

    Attributes:
        spare: The files.
        checkpoint_bytes: What all checkpoints take now.
        kept_for: Whom the others are kept for, in words.
    """

    spare: tuple[Spare, ...]
    checkpoint_bytes: int
    kept_for: str

    @property
    def kept_bytes(self) -> int:
        """What all checkpoints take once the files are gone: unfinished ones count as none."""
        return self.checkpoint_bytes - sum(file.size_bytes for file in self.spare if file.why != UNFINISHED)

    def by_reason(self) -> dict[str, list[Spare]]:
        """Return the files by why they can go."""
        found: dict[str, list[Spare]] = {}
        for file in self.spare:
            found.setdefault(file.why, []).append(file)
        return found


@contextlib.contextmanager
def opened_for_cleaning(folder: Path) -> Iterator[Cleaning]:
    """Yield what can go from a study, which no search can open meanwhile.

    Raises:
        UsageError: There is no study in this folder.
        StorageError: A search has it open, its database is corrupt, or another version wrote it.
    """
    settings = read_settings(folder)
    with access_alone(folder, settings.name) as access:
        objectives = objectives_of(settings)
        store = TrialStore(folder, settings.name, objectives, access.check_held, access.database)
        with contextlib.closing(store):
            ended, unfinished = store.ended(), store.interrupted()
            spare = tuple(spare_files(folder, ended, unfinished, _promotion(folder, settings, objectives)))
            finished = sum(t.finished for t in ended)
            words = f"{finished} finished students and {len(unfinished)} that are under way or wait"
            yield Cleaning(spare, checkpoint_bytes(folder), words)


def _promotion(folder: Path, settings: StudyFile, objectives: tuple[str, ...]) -> Promotion:
    known = str((read_object(folder / "identity.json") or {}).get("validation", "")).split()
    examples = int(known[0]) if known and known[0].isdigit() else FEWEST_EXAMPLES
    examples = min(LOOK_EXAMPLES, examples)
    limits = Limits.of(settings, read_facts(folder))
    return Promotion(limits, objectives, settings.recovery.rungs, examples, examples, settings.search.eta)


class CheckpointKeeper:
    """Keeps the checkpoints of a running search below a limit.

    What nobody needs goes first, then the checkpoints of the students that would go on last; weights of finished
    students stay.
    """

    def __init__(self, folder: Path, promotion: Promotion, limit_bytes: float, say: Callable[[str], None]) -> None:
        """Look at nothing yet.

        Args:
            folder: The study's folder.
            promotion: How students go from rung to rung.
            limit_bytes: What all checkpoints may take.
            say: Takes a line about what was taken away.
        """
        self._folder, self._promotion, self._limit_bytes, self._say = folder, promotion, limit_bytes, say
        self._not_before_s, self._told = 0.0, False

    def look(self, ended: Sequence[Trial], unfinished: Sequence[Trial]) -> None:
        """Take checkpoints away where all take more than the limit, unless the last look was a moment ago.

        Args:
            ended: Trials that ended.
            unfinished: Those that run or wait.

        Raises:
            StorageError: The disk cannot be written.
        """
        if time.monotonic() < self._not_before_s:
            return
        self._not_before_s = time.monotonic() + PAUSE_S
        taken = checkpoint_bytes(self._folder)
        if taken <= self._limit_bytes:
            return
        freed = take_away(spare_files(self._folder, ended, unfinished, self._promotion, running=True))
        for file in waiting_checkpoints(self._folder, ended, unfinished, self._promotion):
            if taken - freed <= ROOM * self._limit_bytes:
                break
            freed += take_away([file])
        if freed:
            limit = f"the limit of {self._limit_bytes / 1e9:.3g} GB"
            self._say(f"checkpoints took {taken / 1e9:.3g} GB, {limit}: {freed / 1e9:.3g} GB were freed")
        if taken - freed > self._limit_bytes and not self._told:
            self._told = True
            self._say(
                f"finished students have checkpoints of {(taken - freed) / 1e9:.3g} GB, over the limit of "
                f"{self._limit_bytes / 1e9:.3g} GB: they stay, because users can export them"
            )
