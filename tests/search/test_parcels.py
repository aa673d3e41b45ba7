"""Jobs whose files travel: what comes of them is what comes of them beside the driver."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from autocompress.errors import StorageError
from autocompress.lines import add_lines, files_of_all, own_file
from autocompress.search.evaluate.checkpoints import checkpoint_path
from autocompress.search.evaluate.context import open_context
from autocompress.search.evaluate.evaluation import evaluate
from autocompress.search.evaluate.job import Job, JobResult
from autocompress.search.evaluate.parcel import Parcel, job_parcel, made_since, opening_parcel, stamps, unpack
from autocompress.search.executors.base import ExecutorContext
from autocompress.search.trial import WarmStart
from autocompress.spaces.spec import Recovery, StudentSpec

names = st.sampled_from(["a.pt", "deep/b.json", "deep/er/c.onnx"])
contents = st.dictionaries(names, st.binary(max_size=20))


@given(before=contents, after=contents)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_what_changed_in_one_folder_makes_the_other_alike(
    before: dict[str, bytes], after: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    there, here = tmp_path_factory.mktemp("there"), tmp_path_factory.mktemp("here")
    for folder in (there, here):
        unpack(folder, Parcel(before))
    known = stamps(there)
    unpack(there, Parcel(after, gone=tuple(before.keys() - after.keys())))
    unpack(here, made_since(there, known))
    found = {path.relative_to(here).as_posix(): path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert found == after


def test_lines_of_several_workers_come_together_and_locks_stay_where_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        unpack(folder, Parcel({"deep/seen.jsonl": b"1\n"}))
    known = stamps(there)
    monkeypatch.setattr("platform.node", lambda: "there")
    add_lines(own_file(there / "deep" / "seen.jsonl"), b"2\n")
    (there / "x.lock").touch()
    (there / ".part-x").touch()
    made = made_since(there, known)
    assert dict(made.tails) == {"deep/seen.jsonl": b"2\n"} and not made.files
    monkeypatch.setattr("platform.node", lambda: "another")
    add_lines(own_file(here / "deep" / "seen.jsonl"), b"3\n")  # another driver's came first
    before = stamps(here)
    monkeypatch.setattr("platform.node", lambda: "here")
    unpack(here, made)
    now = stamps(here)
    assert {name: now[name] for name in before} == before, "no two machines write one file"
    assert b"".join(path.read_bytes() for path in files_of_all(here / "deep" / "seen.jsonl")) == b"1\n3\n2\n"


def test_lines_begin_on_their_own_where_a_crash_left_half_a_line(tmp_path: Path) -> None:
    parcel = Parcel(tails={"seen.jsonl": b"2\n"})
    own_file(tmp_path / "seen.jsonl").write_bytes(b"1\nhal")
    unpack(tmp_path, parcel)
    unpack(tmp_path, parcel)
    assert own_file(tmp_path / "seen.jsonl").read_bytes() == b"1\nhal\n2\n2\n"


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "deep/../../x"])
@pytest.mark.parametrize("where", ["files", "tails", "gone"])
def test_nothing_is_written_or_removed_outside_the_study(tmp_path: Path, name: str, where: str) -> None:
    (tmp_path / "x").write_bytes(b"theirs")
    study = tmp_path / "study"
    study.mkdir()
    parcel = Parcel(**{where: (name,) if where == "gone" else {name: b"ours"}})  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="leads out of the study"):
        unpack(study, parcel)
    assert (tmp_path / "x").read_bytes() == b"theirs"


@pytest.mark.slow
def test_a_student_is_taught_and_built_without_a_shared_folder(opened_context: ExecutorContext, tmp_path: Path) -> None:
    """Each job on another machine, which knows of the study what it is sent alone."""
    given, driver = opened_context, opened_context.folder
    spec = StudentSpec(recovery=Recovery(alpha=0.55), channels={given.context.network.groups[0].name: 8})

    def elsewhere(place: str, job: Job) -> JobResult:
        folder = tmp_path / place
        unpack(folder, opening_parcel(driver))
        context = open_context(given.context.task, given.settings, folder, worker=True)
        unpack(folder, job_parcel(driver, job))
        before = stamps(folder)
        result = evaluate(context, job)
        unpack(driver, made_since(folder, before))
        assert not result.failure
        return result

    assert elsewhere("one", Job(951, spec, "gate")).latencies
    looks = [elsewhere(place, Job(951, spec, "rung", rung)).accuracy for rung, place in enumerate(("two", "three"))]
    assert [checkpoint_path(driver, spec, rung).exists() for rung in (0, 1)] == [False, True]
    built = elsewhere("four", Job(951, spec, "build")).measured["onnxruntime"]
    assert looks[1] is not None and built.accuracy == pytest.approx(looks[1], abs=0.05)
    assert (driver / "trials" / "0951" / "model.onnx").is_file()
    here = evaluate(replace(given.context, folder=tmp_path / "beside"), Job(952, spec, "rung", 0)).accuracy
    assert here == pytest.approx(looks[0], abs=0.02), "it is taught as it is beside the driver"
    start = WarmStart(951, spec, checkpoint_path(driver, spec, 1).name)
    assert elsewhere("five", Job(953, spec, "look", warm_start=start)).warm, "and others begin with its weights"
