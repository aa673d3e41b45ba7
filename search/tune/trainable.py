"""The trainable: each step of a trial does one job. Its actor opens the study once, and serves trial after trial."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import ray
from ray.tune import Trainable

from ...studies.metric import MetricLabel
from ..executors.ray_worker import Done, Opening, RayWorker
from ..next_job import with_result
from ..store.layout import trial_folder
from ..trial import Trial
from .desk import Post
from .metrics import metrics_of


class JobTrainable(Trainable):  # type: ignore[misc]
    """Does the jobs of the trial that its configuration names, as they lie on the desk.

    Its checkpoint is the trial's model once that is built. How far a student is taught lies in the study.
    """

    def setup(
        self,
        config: Mapping[str, Any],
        desk: Any = None,
        opening: Opening | None = None,
        threads: int = 1,
        hide_gpus: bool = True,
        label: MetricLabel | None = None,
    ) -> None:
        """Open the study; see `tune.with_parameters`.

        Args:
            config: Of the first trial.
            desk: Handle of the `Desk`.
            opening: What the study is opened with.
            threads: For training.
            hide_gpus: Whether this process is to see none.
            label: How the metric is shown.
        """
        assert opening is not None and label is not None, "made by autocompress.tune"
        self._desk, self._label = desk, label
        self._worker = RayWorker(threads, desk, hide_gpus, "info")
        found = self._worker.open(opening).found
        self._unusable = found if isinstance(found, Exception) else None
        self.reset_config(config)

    def reset_config(self, new_config: Mapping[str, Any]) -> bool:
        """Serve another trial."""
        self._number, self._model = int(new_config["trial"]), dict[str, bytes]()
        return True

    def step(self) -> dict[str, Any]:
        """Do the job that lies on the desk, or report what lies there.

        Returns:
            What is known of the trial.
        """
        post: Post | None = ray.get(self._desk.take.remote(self._number))
        if post is None:
            raise RuntimeError(f"nothing lies ready for trial {self._number}")
        if post.assigned is None:
            return dict(post.report)
        trial, job = post.assigned
        found = self._unusable or self._worker.do(job, post.parcel).found
        ray.get(self._desk.bring.remote(self._number, post.ticket, found))
        if isinstance(found, Done):
            trial = with_result(trial.spent(found.result.seconds), job, found.result)
            self._keep_model(trial, found)
        return metrics_of(trial, self._label)

    def _keep_model(self, trial: Trial, found: Done) -> None:
        folder = trial_folder(Path(), trial.number).as_posix()
        if trial.measured:
            self._model = {n: content for n, content in found.made.files.items() if n.startswith(f"{folder}/")}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | None:
        """Write the model that was built; before that, a checkpoint says the trial's number alone."""
        if not self._model:
            return {"trial": self._number}
        for name, content in self._model.items():
            path = Path(checkpoint_dir, *PurePosixPath(name).parts[2:])
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return None

    def load_checkpoint(self, checkpoint: dict[str, Any] | str | None) -> None:
        """Do nothing: weights come with each job."""
