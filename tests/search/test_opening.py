"""Opening a study: who may, what is kept of before, and what a damaged or strange file costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from autocompress.errors import StorageError
from autocompress.evaluators.latency import Calibration
from autocompress.files import copy, digest, move, read_json, write_json
from autocompress.search.store.access import access_for_search
from autocompress.search.store.layout import calibration_path
from autocompress.search.store.lock import DEAD_S, locked, owner
from autocompress.search.store.opening import begin_opening, end_opening
from autocompress.search.store.scale import Scale
from autocompress.search.store.settings import check_settings, read_settings, settings_path, write_settings
from autocompress.search.store.trials import TrialStore
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plain import to_plain
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import StudentSpec
from autocompress.studies.study_file import StudyFile

HOLDER = """
import sys, time
from pathlib import Path
from autocompress.search.store.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_study_is_had_alone_and_who_has_it_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(StorageError, match=f"another search has this study open .process {holder.pid} on"):
            locked(tmp_path).__enter__()
        holder.kill()
    with locked(tmp_path):
        assert read_json(tmp_path / "lock.json")["process"] == os.getpid()
    assert not (tmp_path / "lock.json").exists()


def test_a_search_of_another_host_is_believed_while_it_lives(tmp_path: Path) -> None:
    """On disks that do not pass locks on: another host's record stands for it."""
    record = tmp_path / "lock.json"
    write_json(record, {"host": "another", "name": "node-7", "process": 7})
    with pytest.raises(StorageError, match="process 7 on node-7"):
        locked(tmp_path).__enter__()
    long_ago = time.time() - DEAD_S - 1
    os.utime(record, (long_ago, long_ago))
    with locked(tmp_path):
        assert read_json(record)["process"] == os.getpid()
    record.write_text("no record at all")
    with locked(tmp_path):
        pass


def test_who_opens_a_shared_study_and_dies_is_waited_for_as_long_as_its_record_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocompress.search.store.access.OPENING_S", 1.5)
    said: list[str] = []
    given = ("study", ("maximize", "minimize"), "", lambda: None, said.append, lambda: False)
    write_json(tmp_path / "storage.json", {"address": "postgresql+psycopg://nobody@/none?host=/nowhere", "study": "x"})
    with pytest.raises(StorageError, match="cannot be reached"), access_for_search(tmp_path, *given):
        pass
    record, other = tmp_path / "lock.json", {"host": "another", "name": "node-7", "process": 7}
    with locked(tmp_path, 1.5):
        write_json(record, {**read_json(record), **other})  # as that driver leaves it when it is killed
    assert record.exists() and owner(tmp_path)["name"] == "node-7"
    begun_s = time.monotonic()
    with pytest.raises(StorageError, match="cannot be reached"), access_for_search(tmp_path, *given):
        pass
    assert time.monotonic() - begun_s < 10 and said == [
        "another driver is opening this study: waiting until it is through"
    ]


def test_a_host_that_stood_still_leaves_the_lock_of_the_one_that_took_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On disks that do not pass locks on, a laptop that was asleep."""
    monkeypatch.setattr("autocompress.search.store.lock.BEAT_S", 0.02)
    record, other = tmp_path / "lock.json", {"host": "another", "name": "node-7", "process": 7}
    long_ago = time.time() - 60
    with locked(tmp_path) as check_held:
        store, trial = TrialStore(tmp_path, "study", ("accuracy",), check_held), failed_trial()
        store.begin(trial)
        write_json(record, other)
        os.utime(record, (long_ago, long_ago))
        time.sleep(0.3)
        assert record.stat().st_mtime == long_ago, "it is not kept alive for the other one"
        with pytest.raises(StorageError, match=r"took this study over .process 7 on node-7"):
            store.begin(trial)
        record.unlink()  # the other one has come to its end
        with pytest.raises(StorageError, match="took this study over"):
            store.end(trial, None, None)
        write_json(record, other)
    assert read_json(record) == other


def failed_trial() -> Trial:
    return Trial(1, Plan(), StudentSpec(), Origin.SEARCH, "search", TrialState.FAILED)


def test_what_a_killed_opening_made_of_other_settings_is_removed(tmp_path: Path) -> None:
    first = StudyFile().changed("target", batch=1)
    assert not begin_opening(tmp_path, first)
    made = [tmp_path / "identity.json", tmp_path / "targets" / "onnxruntime" / "teacher.onnx"]
    for path in made:
        write_json(path, {})
    assert not begin_opening(tmp_path, first.changed("search", trials=3)) and all(path.exists() for path in made)
    assert begin_opening(tmp_path, first.changed("target", batch=32)) and not any(path.exists() for path in made)
    write_json(made[0], {})
    write_settings(tmp_path, first)
    end_opening(tmp_path)
    assert not begin_opening(tmp_path, first.changed("target", batch=8)) and made[0].exists(), "a study keeps its own"


def test_what_an_earlier_version_did_not_know_yet_is_no_other_setting(tmp_path: Path) -> None:
    """Else a teacher that was trained for a night is trained anew after an update."""
    settings = StudyFile()
    begin_opening(tmp_path, settings)
    made, noted = tmp_path / "teacher.safetensors", read_json(tmp_path / "opening.json")
    made.write_bytes(b"a teacher")
    keys = [(section, key) for section, values in noted.items() for key in values]
    assert len(keys) > 20
    for section, key in keys:
        write_json(tmp_path / "opening.json", {**noted, section: {k: v for k, v in noted[section].items() if k != key}})
        assert not begin_opening(tmp_path, settings) and made.exists(), f"[{section}] {key} had its default"
    for section in noted:
        write_json(tmp_path / "opening.json", {name: values for name, values in noted.items() if name != section})
        assert not begin_opening(tmp_path, settings) and made.exists()
    assert not begin_opening(tmp_path, settings.changed("target", precision=0.3)), "how long to look may change"
    assert read_json(tmp_path / "opening.json")["target"]["precision"] == 0.3
    assert begin_opening(tmp_path, settings.changed("recovery", epochs=7.0)) and not made.exists()


def test_what_any_search_leaves_in_a_new_folder_is_nobodys(tmp_path: Path) -> None:
    with locked(tmp_path):
        (tmp_path / ".part-abc-identity.json").write_text("{}")
        assert not begin_opening(tmp_path, StudyFile())
    assert (tmp_path / "opening.json").exists()


def test_files_that_a_system_leaves_in_folders_are_none_of_a_study(tmp_path: Path) -> None:
    """As macOS does in each that somebody looks into: no command read such a study any more."""
    (tmp_path / ".DS_Store").write_bytes(b"\0")
    assert not begin_opening(tmp_path, StudyFile())
    calibration = Calibration(1.0, 0.9, 1.1, 1.0, 3, False, "this machine")
    write_json(calibration_path(tmp_path, "cpu"), to_plain(calibration))
    for folder in (tmp_path / "targets", tmp_path / "targets" / "cpu"):
        (folder / ".DS_Store").write_bytes(b"\0")
    assert Scale.of(tmp_path).calibrations == {"cpu": calibration}


@pytest.mark.parametrize(
    "name",
    [
        *("targets/mine.txt", "task.json", "profile/run.prof", "study.db"),
        *("checkpoints/mine.pt", "report.html", "trials/notes.txt", "anything"),
    ],
)
def test_a_folder_that_never_was_a_study_loses_nothing(tmp_path: Path, name: str) -> None:
    theirs = tmp_path / name
    theirs.parent.mkdir(parents=True, exist_ok=True)
    theirs.write_text("of a user's own")
    with pytest.raises(StorageError, match=f"no study .*{name.split('/')[0]}.*--fresh") as caught:
        begin_opening(tmp_path, StudyFile())
    assert theirs.read_text() == "of a user's own" and "\n" not in str(caught.value)
    assert not (tmp_path / "opening.json").exists(), "nor is it one from now on"


def test_a_study_of_a_later_version_can_be_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    settings = StudyFile().changed("search", trials=7)
    write_settings(tmp_path, settings)
    data = json.loads(settings_path(tmp_path).read_text())
    data["search"]["of_later"] = 1
    data["later"] = {"a": None}
    del data["recovery"]
    settings_path(tmp_path).write_text(json.dumps(data))
    assert read_settings(tmp_path).search == settings.search
    (said,) = [record.getMessage() for record in caplog.records]
    assert "search.of_later" in said and "later" in said and "\n" not in said
    check_settings(tmp_path, settings)
    data["search"]["trials"] = "seven"
    settings_path(tmp_path).write_text(json.dumps(data))
    with pytest.raises(StorageError, match=r"search\.trials"):
        read_settings(tmp_path)


def test_repair_makes_a_lost_or_damaged_database_anew(tmp_path: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    from stored_trials import a_trial, end

    study = tmp_path / "study"
    write_settings(study, StudyFile().model_copy(update={"name": "mine"}))
    store = TrialStore(study, "mine", ("accuracy", "latency_ms"))
    for number in (1, 2, 3):
        end(store, a_trial(number))
        (study / "trials" / f"{number:04d}" / "model.onnx").write_bytes(b"a model")
    store.close()
    path = study / "study.db"
    for damage in (b"", path.read_bytes()[:9000], b"some text"):
        path.unlink(missing_ok=True)
        if damage:
            path.write_bytes(damage)
        code, _, err = cli("front", study)
        assert code == 2 and len(err.splitlines()) == 1 and "study.db" in err and "repair" in err
        assert (path.read_bytes() if damage else b"") == damage, "looking changes nothing"
        code, out, _ = cli("repair", study)
        assert code == 0 and "3 trials that ended" in out
        assert cli("front", study)[0] == 0
    assert len(list(study.glob("study.damaged-*.db"))) == 2, "what was damaged is kept"
    (study / "trials" / "0002" / "model.onnx").unlink()
    code, out, _ = cli("front", study)
    assert code == 0 and "trials/0001/model" in out and "the model of trial 2 is gone" in out
    whole = path.read_bytes()
    assert cli("repair", study)[0] == 0 and path.read_bytes() == whole, "a sound one is left alone"


def test_a_model_is_moved_onto_a_link_to_a_folder(tmp_path: Path) -> None:
    """Formats that are folders; the folder behind the link is somebody else's."""
    package, theirs, link = tmp_path / "model.mlpackage", tmp_path / "theirs", tmp_path / "link.mlpackage"
    for folder in (package, theirs):
        folder.mkdir()
        (folder / "part").write_text(folder.name)
    link.symlink_to(theirs)
    before = digest(package)
    copy(package, link)
    assert digest(link) == before and (theirs / "part").read_text() == "theirs"
    link.unlink() if link.is_symlink() else None
    move(package, tmp_path / "there.mlpackage")
    assert digest(tmp_path / "there.mlpackage") == before


@pytest.mark.parametrize("place", ["runs", "runs/below"])
def test_a_file_where_a_folder_should_be_is_told_in_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(StorageError, match=r"runs is a file; give the name of a folder") as caught:
        write_json(tmp_path / place / "x.json", {})
    assert "\n" not in str(caught.value)


WRITER = """
import os, sys
os.getpid = lambda: 7
from autocompress.files import Path, write_json
for turn in range(60):
    write_json(Path(sys.argv[1]), {"by": sys.argv[2], "rows": [turn] * 20000})
"""


def test_two_containers_with_one_process_id_never_mix_their_bytes(tmp_path: Path) -> None:
    path = tmp_path / "shared.json"
    write_json(path, {})
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), name]) for name in "ab"]
    while any(writer.poll() is None for writer in writers):
        data = read_json(path)
        assert not data or len(set(data["rows"])) == 1
    assert all(writer.wait() == 0 for writer in writers)
    assert [each.name for each in tmp_path.iterdir()] == ["shared.json"]
