"""Trials in TensorBoard: curves over all of them, and a run for each with its decisions. Needs `tensorboard`."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path
from typing import Any

from ...files import copy, read_object, write_json
from ...temporary import temporary_folder
from .base import EndedTrial, FollowedStudy
from .tensorboard_points import EVENTS, points_of, take_back

MARK = "autocompress.json"
TRIAL = "trial-"
UNFINISHED = ".unfinished-"


class TensorBoardFollower:
    """Writes event files: `DIR/STUDY` for the study, `DIR/STUDY/trial-0001` for a trial.

    A trial's folder gets its name once it is whole, so that it is known which are there. It is there before, under
    another name, when the study's curves get their points: after a kill in between, these are read again, and none is
    written twice. Of two drivers that log one trial, as one was frozen in the midst of it and lost its turn, that one's
    counts whose folder gets the name first; the other one takes its points back.
    """

    def __init__(self, folder: Path) -> None:
        """Write below a folder, which TensorBoard is then started with.

        Raises:
            ImportError: TensorBoard is not installed, or does not work.
        """
        from torch.utils.tensorboard import SummaryWriter

        self._folder, self._make_writer = folder.absolute(), SummaryWriter
        self._own_end = f".{secrets.token_hex(4)}"  # of the names of what this driver writes
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
        if (self._root / name).exists():
            return  # while this driver could do nothing, another one had its turn
        beside = self._root / f"{UNFINISHED}{name}{self._own_end}"
        try:
            self._write(trial, beside, list(self._root.glob(f"{UNFINISHED}{name}*")))
            beside.rename(self._root / name)
        except OSError:
            if not (self._root / name).exists():
                raise
            self.close()
            take_back(trial, self._root, self._own_end)
        for left in self._root.glob(f"{UNFINISHED}{name}*"):  # of a search that was killed, or has lost its turn
            shutil.rmtree(left, ignore_errors=True)

    def _write(self, trial: EndedTrial, beside: Path, begun: list[Path]) -> None:
        there = points_of(trial, self._root) if begun else set()
        beside.mkdir(parents=True, exist_ok=True)
        if self._writer is None:
            self._writer = self._make_writer(str(self._root), filename_suffix=self._own_end)
        curves = {**trial.figures, **{f"seconds/{kind}": seconds for kind, seconds in trial.seconds.items()}}
        over_trials = curves if trial.hypervolume is None else {**curves, "hypervolume": trial.hypervolume}
        points = [(curve, value, trial.number) for curve, value in over_trials.items()]
        if trial.hypervolume is not None:
            points.append(("hypervolume_by_second", trial.hypervolume, round(trial.searched_s)))
        for curve, value, step in points:
            if (curve, step) not in there:
                self._writer.add_scalar(curve, value, step, trial.ended_at_s)
        self._writer.flush()
        # not in its place: a writer's own thread would not bear that another driver removes that
        with temporary_folder() as folder:
            with self._make_writer(str(folder)) as writer:
                about = {"state": trial.state, "origin": trial.label}
                writer.add_hparams({**about, **trial.decisions}, curves, run_name=".", global_step=trial.number)
                for rung, metric in enumerate(trial.rungs, 1):
                    writer.add_scalar("rungs", metric, rung)
                writer.add_text("trial", f"trial {trial.number} ({trial.label}): {trial.state} {trial.reason}".strip())
            for path in folder.glob(EVENTS):
                copy(path, beside / path.name)

    def close(self) -> None:
        """See `Follower`."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _own(self, study: FollowedStudy) -> Path:
        """Return the study's own folder: another study of its name may have the first one."""
        first = self._folder / study.name
        mark = first / MARK
        if not first.exists() or (read_object(mark) or {}).get("study") == study.identity:
            return first
        return self._folder / f"{study.name}-{study.identity}"
