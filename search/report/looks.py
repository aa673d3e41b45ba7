"""The longer looks at the end of a search, as they are kept in `confirmed.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import StorageError
from ...evaluators.measurement import Latency
from ...files import read_object, write_json
from ...remarks import remark
from ...spaces.plain import from_plain, to_plain
from ...spaces.target import PerTarget
from ..store.scale import Scale
from ..trial import Trial
from .entry import Confirmed, lowest


@dataclass(frozen=True)
class LongLook:
    """What is kept of the longer look at one file.

    Attributes:
        sha256: Which file it was.
        test_accuracy: Its metric on the test split, None where it is not defined there.
        latency: By which models are chosen.
        anew: Measured after the file's model was chosen, None where it was not.
    """

    sha256: str
    test_accuracy: float | None
    latency: Latency
    anew: Latency | None = None


@dataclass(frozen=True)
class LongLooks:
    """The longer looks at one trial's files, and the targets that it has files for."""

    targets: tuple[str, ...]
    files: PerTarget[LongLook] = field(default_factory=dict)

    def scaled(self, scale: Scale) -> LongLooks:
        """Return the looks with milliseconds in this scale."""
        latencies = scale.latencies({name: look.latency for name, look in self.files.items()})
        anew = scale.latencies({name: look.anew for name, look in self.files.items() if look.anew is not None})
        files = {n: replace(look, latency=latencies[n], anew=anew.get(n)) for n, look in self.files.items()}
        return replace(self, files=files)

    def is_of(self, trial: Trial) -> bool:
        """Tell whether these are looks at the very files that a trial was measured with, as far as that is known."""
        known = {name: file.sha256 for name, file in trial.measured.items() if file.sha256}
        return all(self.files[name].sha256 == sha256 for name, sha256 in known.items() if name in self.files)

    @property
    def confirmed(self) -> Confirmed | None:
        """The look as reports use it; None where it was interrupted between two targets."""
        if not set(self.targets) <= set(self.files):
            return None
        latencies = {name: self.files[name].latency for name in self.targets}
        anew = {name: look.anew for name, look in self.files.items() if look.anew is not None}
        tests = {name: self.files[name].test_accuracy for name in self.targets}
        return Confirmed(latencies, lowest(tests.values()), anew if set(anew) >= set(self.targets) else {}, tests)


def read_confirmed(folder: Path, trials: Sequence[Trial]) -> dict[int, Confirmed]:
    """Return what `confirm` kept of the files of these trials, by trial number.

    A number alone does not say that a look is of that trial: a database that was restored gives numbers anew.

    Raises:
        StorageError: The file cannot be read.
    """
    by_number = {trial.number: trial for trial in trials}
    found = {}
    for number, look in read_looks(folder).items():
        trial = by_number.get(number)
        if trial is not None and look.is_of(trial) and (confirmed := look.confirmed) is not None:
            found[number] = confirmed
    return found


def read_looks(folder: Path) -> dict[int, LongLooks]:
    """Return the longer looks of a study, by trial number; one that cannot be read costs its trial alone."""
    path, found = looks_path(folder), dict[int, LongLooks]()
    try:
        kept = read_object(path) or {}
    except StorageError as error:
        remark(f"{error}. Without it the longer looks are missing, and the next search takes them again")
        return found
    scale = Scale.of(folder)
    for number, look in kept.items():
        try:
            found[int(number)] = from_plain(LongLooks, look).scaled(scale)
        except ValueError:
            remark(f"{path}: the longer look at trial {number} cannot be read and is taken again")
    return found


def write_looks(folder: Path, looks: Mapping[int, LongLooks]) -> None:
    """Keep the longer looks of a study.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    write_json(looks_path(folder), {str(number): to_plain(look) for number, look in looks.items()})


def looks_path(folder: Path) -> Path:
    """Return the file that holds a study's longer looks."""
    return folder / "confirmed.json"
