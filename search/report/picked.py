"""One model that was chosen of a front."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...evaluators.measurement import ms_text
from ..feasibility import Limits
from .entry import Entry

if TYPE_CHECKING:
    from .front import Front


@dataclass(frozen=True, repr=False)
class Picked:
    """One model of a front.

    Attributes:
        front: The front.
        entry: The model.
        limits: What was asked of it; None where it was named by its number.
        policy: By which it was chosen; None for the best one under the limits.
    """

    front: Front
    entry: Entry
    limits: Limits | None = None
    policy: str | None = None

    def __repr__(self) -> str:
        """Show the model and its file in two lines."""
        return f"<{line(self.entry)}\n  {', '.join(map(str, self.paths.values()))}>"

    @property
    def path(self) -> Path:
        """The model file, in the study's folder; of several, that for the first target."""
        return next(iter(self.paths.values()))

    @property
    def paths(self) -> dict[str, Path]:
        """The model files in the study's folder, by target."""
        return self.front.paths(self.entry)

    def save(self, folder: str | Path, layout: str = "folder") -> Path:
        """Write the model into `folder` as a bundle that stands alone; see `search.bundle.contents.write_bundle`.

        Files for several targets go into folders named after the targets.

        Args:
            folder: Where it goes.
            layout: "folder", "hub" for a repository of the Hugging Face Hub, or "triton" for a model repository of
                Triton Inference Server; see `search.bundle.layouts`.

        Returns:
            The model's new path; of several, that for the first target.

        Raises:
            UsageError: There is no such layout, it has no place for files of this runtime, or the folder is a study's.
            StorageError: The model is not the one that was measured, or the disk is full or cannot be written.
        """
        from ..bundle.layouts import write_as

        return next(iter(write_as(layout, self.front, self.entry, Path(folder)).values()))


def may_miss(entry: Entry, limits: Limits) -> str:
    """Return words for a model that may miss its budget by what was measured after the choice; empty for others.

    Models meet limits by the latencies that they are chosen by. The later measurement does not change the choice, but
    whoever takes the model is to know.

    Args:
        entry: The model.
        limits: What was asked of it.
    """
    if entry.confirmed is None or not entry.confirmed.anew or limits.meets_latency(entry.reported):
        return ""
    return ", by which it may miss the budget"


def line(entry: Entry) -> str:
    """Return one line: trial, where it comes from, metric, latency with its interval, size."""
    latency = entry.reported_latency
    test = f", test {entry.test_text}" if entry.test_text else ""
    worth = f"{entry.metric.name} {entry.metric_text}{test}"
    return (
        f"trial {entry.number} ({entry.trial.label}): {worth}, p50 {ms_text(latency.p50_ms)} ms "
        f"({latency.interval_text}) on {entry.target}, {entry.size_bytes / 1000:.0f} kB"
    )
