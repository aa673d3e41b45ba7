"""Trials in TensorBoard: curves over all of them, and a run for each with its decisions. Needs `tensorboard`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ...files import read_object, write_json
from .base import EndedTrial, FollowedStudy

MARK = "autocompress.json"
TRIAL = "trial-"
UNFINISHED = ".unfinished-"


class TensorBoardFollower:
    """Writes event files: `DIR/STUDY` for the study, `DIR/STUDY/trial-0001` for a trial.

    A trial's folder gets its name once it is whole, so that it is known which are there. It is there before, under
    another name, when the study's curves get their points: after a kill in between, these are read again, and none is
    written twice.
    """

    def __init__(self, folder: Path) -> None:
        """Write below a folder, which TensorBoard is then started with.

        Raises:
            ImportError: TensorBoard is not installed, or does not work.
        """
        from torch.utils.tensorboard import SummaryWriter

        self._folder, self._make_writer = folder.absolute(), SummaryWriter
        self._root: Path = folder
        self._writer: Any = None

    @property
    def where(self) -> str:
        """See `Follower`."""
        return f"TensorBoard's files in {self._folder}"

    def open(self, study: FollowedStudy) -> set[int]:
        """See `Follower`."""
        self.close()
        self._root = self._own(study)
        write_json(self._root / MARK, {"study": study.identity})
        names = [path.name.removeprefix(TRIAL) for path in self._root.glob(f"{TRIAL}*")]
        return {int(name) for name in names if name.isdecimal()}

    def add(self, trial: EndedTrial) -> None:
        """See `Follower`."""
        name = f"{TRIAL}{trial.number:04d}"
        beside = self._root / f"{UNFINISHED}{name}"
        there = self._points_of(trial) if beside.exists() else set()
        beside.mkdir(parents=True, exist_ok=True)
        if self._writer is None:
            self._writer = self._make_writer(str(self._root))
        curves = {**trial.figures, **{f"seconds/{kind}": seconds for kind, seconds in trial.seconds.items()}}
        over_trials = curves if trial.hypervolume is None else {**curves, "hypervolume": trial.hypervolume}
        points = [(curve, value, trial.number) for curve, value in over_trials.items()]
        if trial.hypervolume is not None:
            points.append(("hypervolume_by_second", trial.hypervolume, round(trial.searched_s)))
        for curve, value, step in points:
            if (curve, step) not in there:
                self._writer.add_scalar(curve, value, step, trial.ended_at_s)
        self._writer.flush()
        for left in beside.iterdir():  # of a search that was killed
            shutil.rmtree(left) if left.is_dir() else left.unlink()
        with self._make_writer(str(beside)) as writer:
            about = {"state": trial.state, "origin": trial.label}
            writer.add_hparams({**about, **trial.decisions}, curves, run_name=".", global_step=trial.number)
            for rung, metric in enumerate(trial.rungs, 1):
                writer.add_scalar("rungs", metric, rung)
            writer.add_text("trial", f"trial {trial.number} ({trial.label}): {trial.state} {trial.reason}".strip())
        beside.rename(self._root / name)

    def close(self) -> None:
        """See `Follower`."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _points_of(self, trial: EndedTrial) -> set[tuple[str, int]]:
        """Return which of a trial's points the curves have already: names and steps."""
        from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

        found = set()
        for path in self._root.glob("events.out.tfevents.*"):
            for event in EventFileLoader(str(path)).Load():
                if trial.number == event.step or trial.ended_at_s == event.wall_time:
                    found |= {(value.tag, event.step) for value in event.summary.value}
        return found

    def _own(self, study: FollowedStudy) -> Path:
        """Return the study's own folder: another study of its name may have the first one."""
        first = self._folder / study.name
        mark = first / MARK
        if not first.exists() or (read_object(mark) or {}).get("study") == study.identity:
            return first
        return self._folder / f"{study.name}-{study.identity}"
