"""Jobs on a Ray cluster whose nodes share the folder of runs with the driver, and one that does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocompress.files import PARTIAL
from autocompress.search.evaluate.job import Job, JobResult
from autocompress.search.evaluate.parcel import Parcel
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.executors.registry import make_executor
from autocompress.spaces.spec import Recovery, StudentSpec

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.xdist_group("opened_context")]

PATIENCE_S = 240.0
JOBS = ("gate", "rung", "rung", "build")


def study_of(given: ExecutorContext, folder: Path) -> ExecutorContext:
    """The same study in another folder, as far as nothing was tried in it."""
    shutil.copytree(given.folder, folder, ignore=shutil.ignore_patterns("trials", "checkpoints", "latency", "logs"))
    return replace(given, folder=folder, context=replace(given.context, folder=folder))


class Counted:
    """What travels to workers and back, in bytes; the real functions do the work."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from autocompress.search.executors.ray_files import StudyFiles

        self.sent, self.back = Counter[str](), Counter[str]()
        self._parcel, self._take_in = StudyFiles.parcel, StudyFiles.take_in
        counted = self

        def parcel(files: StudyFiles, worker: Any, job: Job) -> Parcel:
            found = counted._parcel(files, worker, job)
            counted.sent[job.step] += found.size_bytes
            return found

        def take_in(files: StudyFiles, worker: Any, made: Parcel) -> None:
            counted.back["bytes"] += made.size_bytes
            counted._take_in(files, worker, made)

        monkeypatch.setattr(StudyFiles, "parcel", parcel)
        monkeypatch.setattr(StudyFiles, "take_in", take_in)


def until(done: Callable[[], bool], executor: Any, said: list[str]) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end_s, f"it never came: {said}, {executor.worker_states()}"
        executor.run_pending()
        time.sleep(0.1)


def trained(given: ExecutorContext, address: str, shared: bool, said: list[str], nodes: int) -> list[JobResult]:
    """Train and build two students at once on a cluster, once it has so many workers."""
    settings = given.settings.changed("search", executor="ray", address=address, cpus_per_job=1, shared=shared)
    executor: Any = make_executor("ray", replace(given, settings=settings, say=said.append), 1)
    try:
        until(lambda: executor.slots == nodes, executor, said)
        results: list[JobResult] = []
        group = given.context.network.groups[0].name
        specs = [StudentSpec(recovery=Recovery(alpha=alpha), channels={group: 8}) for alpha in (0.35, 0.45)]
        for index, step in enumerate(JOBS):
            jobs = [Job(701 + n, spec, step, max(0, index - 1) % 2) for n, spec in enumerate(specs)]  # type: ignore[arg-type]
            answers: list[Future[JobResult]] = [executor.submit(job) for job in jobs]
            until(lambda answers=answers: all(a.done() for a in answers), executor, said)  # type: ignore[misc]
            results += [answer.result(0) for answer in answers]
        for worker in executor._workers:
            own = Path(executor._ray.get(worker.printed_to)).parent / "study"
            left = [path for name in ("checkpoints", "trials") for path in (own / name).rglob("*")]
            assert not left, "a worker keeps nothing of jobs that are done"
        return results
    finally:
        executor.close()


def test_with_the_folder_of_runs_nothing_but_names_travels_and_results_are_the_same(
    opened_context: ExecutorContext, cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    found: dict[bool, list[JobResult]] = {}
    traffic: dict[bool, tuple[int, int]] = {}
    said: list[str] = []
    for shared in (True, False):
        counted = Counted(monkeypatch)
        given = study_of(opened_context, tmp_path / f"shared-{shared}")
        found[shared] = trained(given, cluster.address, shared, said, 2)
        traffic[shared] = sum(counted.sent.values()), counted.back["bytes"]
        monkeypatch.undo()
        for number in (701, 702):
            assert (given.folder / "trials" / f"0{number}" / "model.onnx").is_file()
        assert not [path.name for path in given.folder.iterdir() if path.name.startswith(PARTIAL)]
    assert not [line for line in said if "travel" in line]
    assert traffic[True][0] == 0 < traffic[False][0], "checkpoints"
    assert traffic[True][1] < 0.05 * traffic[False][1], traffic
    for one, other in zip(found[True], found[False], strict=True):
        assert (one.accuracy is None) == (other.accuracy is None) and not one.failure and not other.failure
        if one.accuracy is not None and other.accuracy is not None:
            assert one.accuracy == pytest.approx(other.accuracy, abs=0.02)
    assert all(result.measured for result in found[True][-2:])


@pytest.fixture
def blind(cluster: Any, tmp_path: Path) -> Iterator[Callable[[Path], None]]:
    """Starts a node that sees another folder by the path of a given one."""
    apart = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child")
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("namespaces cannot be made here")
    started: list[subprocess.Popen[bytes]] = []

    def start(hidden: Path) -> None:
        ray = f"{sys.executable} -m ray.scripts.scripts start --num-cpus=1 --block --disable-usage-stats"
        script = f"mount -t tmpfs none {hidden} && exec {ray} --address={cluster.address}"
        with (tmp_path / "node.log").open("wb") as log:
            words = [*apart, "bash", "-c", script]
            started.append(subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True, env={**os.environ}))

    yield start
    for each in started:
        each.kill()
        each.wait()


def test_a_node_that_does_not_see_the_folder_works_by_parcels_and_it_is_said_once(
    opened_context: ExecutorContext, cluster: Any, tmp_path: Path, blind: Callable[[Path], None]
) -> None:
    cluster.add_node(num_cpus=1)
    said: list[str] = []
    given = study_of(opened_context, tmp_path / "study")
    blind(given.folder)
    results = trained(given, cluster.address, True, said, 2)
    (line,) = [line for line in said if "travel" in line]
    assert f"cannot read and write {given.folder}: files travel to it and back" in line
    assert all(not result.failure for result in results) and all(result.measured for result in results[-2:])
    for number in (701, 702):
        assert (given.folder / "trials" / f"0{number}" / "model.onnx").is_file()
