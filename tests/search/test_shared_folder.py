"""A study's folder that a worker shares with the driver: what comes of a job is what comes of it by parcels."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from autocompress.errors import StorageError, UsageError
from autocompress.files import PARTIAL, check_folder, sweep
from autocompress.search.evaluate.checkpoints import checkpoint_path
from autocompress.search.evaluate.context import open_context
from autocompress.search.evaluate.evaluation import evaluate
from autocompress.search.evaluate.job import Job, JobResult
from autocompress.search.evaluate.parcel import Parcel, job_parcel, made_since, opening_parcel, stamps, unpack
from autocompress.search.evaluate.shared import NotSeen, SharedFolder
from autocompress.search.executors.base import ExecutorContext
from autocompress.spaces.spec import Recovery, StudentSpec

SPEC = StudentSpec(recovery=Recovery(alpha=0.5))
JOB = Job(7, SPEC, "rung", 1)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    folder = tmp_path / "study"
    checkpoint_path(folder, SPEC, 0).parent.mkdir(parents=True)
    checkpoint_path(folder, SPEC, 0).write_bytes(b"weights")
    (folder / "targets" / "here").mkdir(parents=True)
    (folder / "targets" / "here" / "teacher.onnx").write_bytes(b"graph")
    (folder / "targets" / "here" / "teacher.jsonl").write_bytes(b"1\n")
    return folder


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there after a moment is not waited for."""
    monkeypatch.setattr("autocompress.search.evaluate.shared.SEEN_S", 0.2)


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_only_whoever_sees_the_same_folder_has_it(study: Path, tmp_path: Path) -> None:
    shared = SharedFolder.offered(study)
    assert shared.is_seen() and shared.hears(shared.greet())
    beside = SharedFolder.offered(study)
    assert beside.token != shared.token and beside.is_seen() and shared.is_seen(), "several drivers may search it"
    another = tmp_path / "another"  # what lies elsewhere by the same path
    another.mkdir()
    elsewhere = SharedFolder(another, shared.token)
    assert not elsewhere.is_seen() and elsewhere.greet() == "" and not shared.hears("")
    assert not shared.hears(f"{PARTIAL}of-nobody")
    shared.withdraw()
    assert not shared.is_seen() and beside.is_seen()
    sweep(study)
    assert not beside.is_seen(), "what a kill left is removed by whoever opens the study next"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_can_only_be_read_is_not_shared(study: Path) -> None:
    shared = SharedFolder.offered(study)
    study.chmod(0o555)
    try:
        assert shared.is_seen() and shared.greet() == ""
    finally:
        study.chmod(0o755)


def test_what_is_named_is_read_where_it_lies(study: Path) -> None:
    shared = SharedFolder.offered(study)
    named = job_parcel(study, JOB, linked=True)
    assert named.size_bytes == 0 and list(named.links) == [f"checkpoints/{checkpoint_path(study, SPEC, 0).name}"]
    assert shared.taken(named) == job_parcel(study, JOB)
    opening = opening_parcel(study, linked=True)
    (study / "targets" / "here" / "teacher.jsonl").write_bytes(b"1\n2\n")  # others measure meanwhile
    taken = shared.taken(opening)
    assert dict(taken.files) == {"targets/here/teacher.onnx": b"graph", "targets/here/teacher.jsonl": b"1\n"}


@pytest.mark.parametrize("becomes", [None, b"other weights", b"changed"])
def test_what_is_not_there_as_the_driver_saw_it_is_not_taken(study: Path, becomes: bytes | None) -> None:
    shared = SharedFolder.offered(study)
    named, path = job_parcel(study, JOB, linked=True), checkpoint_path(study, SPEC, 0)
    path.unlink()
    if becomes is not None:
        path.write_bytes(becomes)
        os.utime(path, ns=(10**18, 10**18))
    with pytest.raises(NotSeen, match=path.name):
        shared.taken(named)


def test_what_a_worker_made_is_in_its_place_once_the_driver_takes_it(study: Path, tmp_path: Path) -> None:
    shared, before = SharedFolder.offered(study), names(study)
    checkpoint = f"checkpoints/{checkpoint_path(study, SPEC, 0).name}"
    made = Parcel(
        {"checkpoints/b.pt": b"more weights", "trials/0007/model.onnx": b"model", "targets/here/latency/x.json": b"{}"},
        tails={"targets/here/teacher.jsonl": b"2\n"},
        gone=(checkpoint,),
    )
    given = shared.given(made)
    assert not given.files and given.size_bytes == 2, "what travels"
    seen = {name for name in names(study) if not name.startswith(PARTIAL)}
    assert seen == before - {name for name in before if name.startswith(PARTIAL)}, "as long as the job may be lost"
    (study / "targets" / "here" / "teacher.jsonl").write_bytes(b"1\n3\n")  # another worker's came first
    by_parcel = tmp_path / "by-parcel"
    unpack(by_parcel, Parcel({name: (study / name).read_bytes() for name in seen}))
    unpack(by_parcel, made)
    shared.receive(given)
    shared.withdraw()
    assert {name: (study / name).read_bytes() for name in names(study)} == {
        name: (by_parcel / name).read_bytes() for name in names(by_parcel)
    }


def test_what_does_not_arrive_changes_nothing(study: Path) -> None:
    shared, before = SharedFolder.offered(study), names(study)
    given = shared.given(Parcel({"a": b"1", "b": b"2"}, tails={"targets/here/teacher.jsonl": b"2\n"}))
    (study / given.place / "b").unlink()
    with pytest.raises(NotSeen):
        shared.receive(given)
    assert {name for name in names(study) if not name.startswith(given.place)} == before
    assert (study / "targets" / "here" / "teacher.jsonl").read_bytes() == b"1\n"


@pytest.mark.parametrize("seen", [None, b"weigh"], ids=["not yet", "not whole"])
def test_what_another_machine_wrote_is_waited_for(
    study: Path, seen: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over a network, a look may tell what was there a moment ago: a training that is done is not lost by it."""
    monkeypatch.setattr("autocompress.search.evaluate.shared.SEEN_S", 30.0)
    shared = SharedFolder.offered(study)
    given = shared.given(Parcel({"checkpoints/b.pt": b"weights"}))
    written = study / given.place / "checkpoints" / "b.pt"
    comes = written.rename(study / "late")
    if seen is not None:
        written.write_bytes(seen)
    later = threading.Timer(0.5, comes.replace, (written,))
    later.start()
    shared.receive(given)
    assert (study / "checkpoints" / "b.pt").read_bytes() == b"weights"
    later.join()
    greeting = shared.greet()
    comes = (study / greeting).rename(study / "late")
    later = threading.Timer(0.5, comes.replace, (study / greeting,))
    later.start()
    assert shared.hears(greeting)
    later.join()


@pytest.mark.parametrize("parcel", [Parcel(links={"../x": (1, 1)}), Parcel(place="../y"), Parcel(place="/tmp")])
def test_nothing_is_moved_from_or_to_outside_the_study(study: Path, parcel: Parcel) -> None:
    with pytest.raises(StorageError, match="leads out of the study"):
        SharedFolder.offered(study).receive(parcel)


def test_object_storage_is_refused_in_a_line() -> None:
    with pytest.raises(UsageError) as caught:
        check_folder(Path("s3://bucket/runs"))
    assert "s3://bucket/runs is no folder" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.slow
def test_a_student_is_taught_and_built_through_the_shared_folder(
    opened_context: ExecutorContext, tmp_path: Path
) -> None:
    """Each job on another machine, which is sent nothing but names."""
    given, driver = opened_context, opened_context.folder
    spec = StudentSpec(recovery=Recovery(alpha=0.65), channels={given.context.network.groups[0].name: 8})
    shared = SharedFolder.offered(driver)

    def elsewhere(place: str, job: Job) -> JobResult:
        folder = tmp_path / place
        unpack(folder, shared.taken(opening_parcel(driver, linked=True)))
        context = open_context(given.context.task, given.settings, folder, worker=True)
        sent = job_parcel(driver, job, linked=True)
        assert sent.size_bytes == 0
        unpack(folder, shared.taken(sent))
        before = stamps(folder)
        result = evaluate(context, job)
        made = shared.given(made_since(folder, before))
        assert made.size_bytes < 2000, "lines of what was timed"
        shared.receive(made)
        assert not result.failure
        return result

    looks = [elsewhere(place, Job(955, spec, "rung", rung)).accuracy for rung, place in enumerate(("two", "three"))]
    assert [checkpoint_path(driver, spec, rung).exists() for rung in (0, 1)] == [False, True]
    built = elsewhere("four", Job(955, spec, "build")).measured["onnxruntime"]
    assert looks[1] is not None and built.accuracy == pytest.approx(looks[1], abs=0.05)
    assert (driver / "trials" / "0955" / "model.onnx").is_file()
    shared.withdraw()
    assert not [path for path in driver.iterdir() if path.name.startswith(PARTIAL)], "nothing is left lying about"
