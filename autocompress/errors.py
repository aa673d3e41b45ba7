"""Every error a user can meet. This file imports nothing of the project.

AutoCompressError               shown as one line, exit code 2
├── UsageError                  a command, option or value that cannot be
│   └── UnknownName             a name that is not known, with the nearest that is
├── PluginError                 a plug-in of an installed package that cannot be loaded
├── StudyFileError              a study file or task file that cannot be used
├── DataError                   images, labels, checkpoints: missing, corrupt, out of range
├── StorageError                a study's folder or database cannot be read or written
│   └── StudyOpen               another search has the study open
├── ExportError                 a network that cannot be turned into a file for the target
├── MetricError                 a metric that gives no usable number
├── BudgetError                 a budget that no plan of the space can reach
├── BundleError                 a bundle that was changed, or does not answer as it did
├── RuntimeUnavailable          a runtime that is not installed or cannot run here
├── MeasurementError            a file that could not be timed
├── ConditionsChanged           the machine is not as it was when a study was measured
└── TimingHostLost              the machine that times files is gone
TrialFailed                     one trial cannot go on; the study can (not shown as an error of the user's)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AutoCompressError(Exception):
    """A mistake of the user's, or a limit of the machine: one line, exit code 2."""


class UsageError(AutoCompressError):
    """A command, option or value that cannot be."""


class UnknownName(UsageError):
    """A name that is not known, answered with the nearest known one and all that are."""

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        known = sorted(known)
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        guess = f"; did you mean {near[0]!r}?" if near else "."
        shown = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
        super().__init__(f"unknown {kind} {name!r}{guess} Known: {shown or 'none'}.{' ' + hint if hint else ''}")
        self._given = (kind, name, known, hint)

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, list[str], str]]:
        """Travel between processes: exceptions are made anew from what they were made of."""
        return UnknownName, self._given


class PluginError(AutoCompressError):
    """A plug-in of an installed package that cannot be loaded or lacks parts of its seam."""


class StudyFileError(AutoCompressError):
    """A study file or task file that cannot be used."""


class DataError(AutoCompressError):
    """Images, labels or checkpoints that are missing, corrupt or out of range."""


class StorageError(AutoCompressError):
    """A study's folder or database that cannot be read or written."""


class StudyOpen(StorageError):
    """A study that another search has open."""


class ExportError(AutoCompressError):
    """A network that cannot be turned into a file for the target."""


class MetricError(AutoCompressError):
    """A metric that gives no usable number."""


class BudgetError(AutoCompressError):
    """A budget that no plan of the space can reach."""


class BundleError(AutoCompressError):
    """A bundle that was changed, or whose models do not answer as they did."""


class RuntimeUnavailable(AutoCompressError):
    """A runtime that is not installed or cannot run here."""


class MeasurementError(AutoCompressError):
    """A file that could not be timed."""


class ConditionsChanged(AutoCompressError):
    """The machine is not as it was when a study was measured; no trial is to blame."""


class TimingHostLost(AutoCompressError):
    """The machine that times files is gone; no trial is to blame."""


class TrialFailed(Exception):
    """One trial cannot go on (its loss diverged, its file does not agree); the study goes on."""


def one_line(error: BaseException | str) -> str:
    """Return what another library said, on one line of at most 300 characters, for the end of a message of ours.

    Args:
        error: The error, or its text.

    Returns:
        The line; the kind of error where it said nothing.
    """
    return " ".join(str(error).split())[:300] or type(error).__name__
