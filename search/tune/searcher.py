"""The searcher and the scheduler: the two parts of Tune that ask what is decided."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import TrialScheduler
from ray.tune.search import Searcher

from ...errors import UsageError
from .conductor import Conductor

NOT_HERE = (
    "a study goes on from its own folder, not from what Tune keeps: make autocompress.tune.Study(...) again, and a new "
    "tune.Tuner"
)


class AsksConductor:
    """Asks the conductor, in the process that has the study open, and nowhere else."""

    _conductor: Conductor | None

    @property
    def _here(self) -> Conductor:
        if self._conductor is None:
            raise UsageError(NOT_HERE)
        return self._conductor

    def __getstate__(self) -> dict[str, Any]:
        # Tune writes its own settings beside its results; a study is held by one process
        return {**self.__dict__, "_conductor": None}


class StudySearcher(AsksConductor, Searcher):  # type: ignore[misc]
    """Begins trials. What becomes of them is the scheduler's to tell."""

    def __init__(self, conductor: Conductor) -> None:
        """Ask a conductor what begins."""
        super().__init__()
        self._conductor = conductor

    def set_search_properties(self, metric: str | None, mode: str | None, config: Any, **spec: Any) -> bool:
        """Take Tune's word for what is shown; what is searched is the study's."""
        self._metric, self._mode = metric, mode
        return True

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Run at most so many trials at a time. Students that wait at a rung do not count, as Tune would have it."""
        self._here.most = max_concurrent
        return True

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of a new trial: its number, where it comes from, and what is decided."""
        return self._here.propose()

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Do nothing: the scheduler sees the same, and more."""

    def save(self, checkpoint_path: str) -> None:
        """Write where the study lies: it is kept there."""
        Path(checkpoint_path).write_text(str(self._here.folder), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Refuse.

        Raises:
            UsageError: Always.
        """
        raise UsageError(NOT_HERE)


class StudyScheduler(AsksConductor, TrialScheduler):  # type: ignore[misc]
    """Lets trials go on, wait at their rungs and end, as the study decides."""

    _supports_buffered_results = False

    def __init__(self, conductor: Conductor) -> None:
        """Ask a conductor what follows."""
        super().__init__()
        self._conductor = conductor

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Take in that Tune begins, and when it will end."""
        self._here.start(spec.get("time_budget_s"))
        return bool(super().set_search_properties(metric, mode, **spec))

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Take in that a trial was made, or is tried again."""
        self._here.added(trial)

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Take in that the process of a trial died."""
        self._here.failed(trial)

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        """Return whether a trial whose step has ended goes on, or waits. It says itself when it is done."""
        return str(TrialScheduler.CONTINUE if self._here.came(trial) else TrialScheduler.PAUSE)

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Take in that a trial is over for Tune."""
        self._here.left(trial)

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        """Take in the same of a trial that did not run."""
        self._here.left(trial)

    def choose_trial_to_run(self, tune_controller: Any) -> TuneTrial | None:
        """Return a trial that waited and goes on; new ones are begun by Tune itself.

        Those that still wait when nothing follows any more end here. In the study they wait on.
        """
        no_more = bool(tune_controller.search_alg.is_finished())
        found = self._here.who_resumes(no_more)
        if found is None and no_more:
            for trial in self._here.left_waiting():
                tune_controller.stop_trial(trial)
        return found

    def debug_string(self) -> str:
        """Return a line for Tune's own display."""
        return "AutoCompress: trials wait at their rungs until it is their turn."
