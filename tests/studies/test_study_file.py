"""Study files: every mistake gets one line that says what is allowed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autocompress.errors import AutoCompressError, DataError, StudyFileError, UnknownName, UsageError
from autocompress.studies.study_file import StudyFile, bundled_studies, load_study


def write(folder: Path, text: str, name: str = "x.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_bundled_studies_load_by_name() -> None:
    assert bundled_studies() == ["cifar10_resnet20", "digits"]
    for name in bundled_studies():
        study = load_study(name)
        assert study.name == name and study.teacher.epochs > 0


def test_name_and_sections_have_defaults(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, "", "my study.toml"))
    assert study.name == "my_study" and study.target.runtime == "onnxruntime"
    assert study.recovery.rungs == (0.5, 1.0) and study.folder == tmp_path
    hash(study.search)


def test_values_arrive(tmp_path: Path) -> None:
    text = """
    name = "n"
    [data]
    kind = "parquet"
    validation = 5000
    mean = [0, 0.5, 1]
    [space]
    axes = ["bits", "width", "axis_of_a_plug_in"]
    bits = [8, 32]
    [search]
    minutes = 3
    """
    study = load_study(write(tmp_path, text))
    assert study.data.validation == 5000 and study.data.mean == (0.0, 0.5, 1.0)
    assert study.space.axes == ("bits", "width", "axis_of_a_plug_in") and study.space.bits == (8, 32)
    assert study.search.minutes == 3.0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[search]\nminuts = 3", r"\[search\] unknown key 'minuts'; did you mean 'minutes'\?"),
        ("[serch]\nminutes = 3", "unknown section 'serch'; did you mean 'search'"),
        ("[task]\nsource = 'a.py'", r"\[task\] unknown key 'source'.*Known: from"),
        ("[budget]\nlatency_ms = 0", r"\[budget\] latency_ms = 0; allowed: a number above 0"),
        ("[budget]\nlatency_ms = -1.5", "latency_ms = -1.5; allowed: a number above 0"),
        ("[budget]\nlatency_ms = nan", "latency_ms = nan; allowed: a number above 0"),
        ("[budget]\nlatency_ms = inf", "latency_ms = inf; allowed: a number above 0"),
        ("[budget]\nlatency_ms = '5'", "latency_ms = '5'; allowed: a number above 0"),
        ("[budget]\npercentile = 75", "percentile = 75; allowed: 50, 90, 95, 99"),
        ("[budget]\nmin_accuracy = 85", "min_accuracy = 85; allowed: a share of 1"),
        ("[target]\nbatch = 0", "batch = 0; allowed: a whole number from 1"),
        ("[data]\nkind = 'parkett'", "unknown data kind 'parkett'; did you mean 'parquet'"),
        (
            "[data]\nkind = 'image_folder'\nroot = '.'",
            r"\[data\] root has no effect with kind = 'image_folder', where ",
        ),
        (
            "[data]\nkind = 'parquet'\nname = 'x'",
            r"name has no effect with kind = 'parquet', where train, test, .* count",
        ),
        ("[data]\nkind = 'digits'\nimage_size = 8", "image_size has no effect with kind = 'digits'"),
        ("[data]\nvalidation = 1.5", "validation = 1.5; allowed: a whole number from 1 or a number above 0 below 1"),
        ("[data]\nstd = [0.0]", "allowed: a list of a number above 0"),
        ("[space]\naxes = [3]", r"\[space\] axes = 3; allowed: a list of a text in quotes"),
        ("[space]\naxes = []", r"axes = \[\]; allowed: a list .* not empty"),
        ("[space]\naxes = ['width', 'channels']", r"\[space\] axes names both width and channels: .*; keep one"),
        ("[space]\nbits = [7]", "allowed: a list of 4, 8, 16, 32"),
        ("[space]\nmin_channels_fraction = 0.0", "a number from 0.1 up to 1"),
        ("[recovery]\nrungs = [1.0, 0.5]", "must rise strictly and end with 1.0"),
        ("[recovery]\nepochs = -1", "epochs = -1; allowed: a number above 0"),
        ('[recovery]\nways = ["full", "prefix"]', "'prefix'"),
        ('[recovery]\nways = ["full", "full"]', "names 'full' twice"),
        ("[recovery]\nways = []", "ways"),
        ("[search]\nobjectives = 'accuracy'", "objectives = 'accuracy'; allowed: a list of a text in quotes"),
        ("[search]\nexecutor = 3", "executor = 3; allowed: a text in quotes"),
        ("[search]\nwithout = ['seeds']", "unknown value of without 'seeds'.*initial_design"),
        ("[search]\npatience = 3\nobjectives = ['size_bytes', 'accuracy']", "both must be objectives"),
        ("[search]\ntrials = true", "trials = True; allowed: a whole number from 1"),
        ("search = 3", r"\[search\] must be a section"),
        ("name = '../up'", "name = '../up'; allowed"),
        ("[search\nminutes = 3", r"not valid TOML: .*line 1"),
        ("[search]\nminutes = \n", r"not valid TOML: .*line 2"),
    ],
)
def test_every_mistake_gets_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(StudyFileError, match=message) as caught:
        load_study(path)
    assert str(caught.value).startswith(str(path)) and "\n" not in str(caught.value)


def test_missing_file_and_unknown_name_list_what_is_bundled(tmp_path: Path) -> None:
    with pytest.raises(StudyFileError, match=r"no study file .*cifar10_resnet20, digits"):
        load_study(tmp_path / "nothing.toml")
    with pytest.raises(UnknownName, match="did you mean 'digits'"):
        load_study("digit")


@pytest.mark.parametrize("value", [0, -3.0, float("nan"), float("inf"), "5"])
def test_changed_values_are_checked_too(value: object) -> None:
    with pytest.raises(UsageError, match=r"latency_ms = .*; allowed: a number above 0"):
        StudyFile().changed("budget", latency_ms=value)


def test_changed_leaves_the_rest() -> None:
    study = load_study("digits")
    other = study.changed("budget", latency_ms=5).changed("search", trials=7)
    assert (other.budget.latency_ms, other.search.trials, other.search.minutes) == (5.0, 7, 5.0)
    assert study.budget.latency_ms is None and other.path == study.path


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("", StudyFileError, "needs 'model'"),
        ("[teacher]\nmodel = 'digits_net'", DataError, "untrained network cannot teach"),
        ("[teacher]\nmodel = 'digitsnet'\nepochs = 1", UnknownName, "did you mean 'digits_net'"),
        ("[teacher]\nmodel = 'torchvision/resnet81'\nepochs = 1", UnknownName, "did you mean 'resnet"),
        ("[teacher]\nmodel = 'digits_net'\ncheckpoint = 'no.pt'", DataError, "no data file 'no.pt' .looked in"),
        ("[data]\nkind = 'parquet'\n[teacher]\nmodel = 'digits_net'", StudyFileError, "needs 'train'"),
        ("[task]\nfrom = 'no.py'", StudyFileError, "no file 'no.py'"),
    ],
)
def test_tasks_that_cannot_be_built(tmp_path: Path, text: str, error: type[AutoCompressError], message: str) -> None:
    study = load_study(write(tmp_path, text))
    with pytest.raises(error, match=message) as caught:
        study.build_task()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[data]\nkind = 'digits'", r"\[data\] kind"),
        ("[data]\naugment = 'none'", r"\[data\] augment"),
        ("[teacher]\nmodel = 'digits_net'\nepochs = 2", r"\[teacher\] model"),
    ],
)
def test_what_the_users_own_task_brings_is_not_said_twice(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(StudyFileError, match=f"from = 'no.py' already brings what {key} says: remove one of them"):
        load_study(write(tmp_path, f"[task]\nfrom = 'no.py'\n{text}"))
    beside = load_study(write(tmp_path, text))
    if "none" not in text and "digits'" not in text:
        with pytest.raises(StudyFileError, match="already brings"):
            beside.changed("task", **{"from": "no.py"})


def test_options_are_checked_as_a_file_is() -> None:
    own = StudyFile().changed("task", **{"from": "no.py"}).changed("teacher", epochs=2)
    with pytest.raises(StudyFileError, match=r"already brings what \[data\] kind"):
        own.changed("data", kind="digits")
    with pytest.raises(StudyFileError, match="root has no effect with kind = 'digits'"):
        StudyFile().changed("data", root=".")


TASK_FILE = (
    "from autocompress.studies.study_file import load_study as load\ndef task(): return load('digits').build_task()"
)
TASKS = {
    "task file": "[task]\nfrom = 'mine.py'",
    "task of a module beside the study": "[task]\nfrom = 'mine_beside:task'",
    "data and teacher": "[data]\nkind = 'digits'\n[teacher]\nmodel = 'mine.py:net'\nepochs = 1",
    "teacher of a module beside the study": "[teacher]\nmodel = 'mine_beside:net'\nepochs = 1",
    "defaults": "[teacher]\nmodel = 'digits_net'\nepochs = 1\n[search]\nminutes = 3",
}


@pytest.mark.parametrize("text", TASKS.values(), ids=TASKS)
def test_a_study_that_is_read_back_builds_its_task_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    for name in ("mine.py", "mine_beside.py"):
        write(home, f"{TASK_FILE}\ndef net():\n    import torch\n    return torch.nn.Linear(2, 2)", name)
    write(home, text)
    monkeypatch.chdir(home)
    study = load_study("x.toml")  # a relative path
    study.build_task()
    stored = json.dumps(study.model_dump(mode="json", by_alias=True))
    monkeypatch.chdir(elsewhere)
    again = StudyFile.model_validate(json.loads(stored))
    assert again == study and again.path == home / "x.toml"
    assert again.build_task().name == study.build_task().name
    again.changed("search", trials=3).changed("teacher", learning_rate=0.1).build_task()
    assert StudyFile.model_validate_json(stored) == study


def test_a_study_made_in_python_lies_in_the_folder_that_it_was_made_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = StudyFile()
    monkeypatch.chdir("/")
    assert study.folder == tmp_path


def test_modules_beside_the_study_and_beside_the_task_file_can_be_imported(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    write(tmp_path / "sub", "NAME = 'beside the task'", "beside_the_task.py")
    write(tmp_path, "NAME = 'beside the study'", "beside_the_study.py")
    source = """
from autocompress import Task
import beside_the_task
def task():
    import beside_the_study, torch
    return Task(torch.nn.Linear(2, 2), None, None, None, name=beside_the_task.NAME + ', ' + beside_the_study.NAME)
"""
    write(tmp_path / "sub", source, "mine.py")
    task = load_study(write(tmp_path, "[task]\nfrom = 'sub/mine.py'")).build_task()
    assert task.name == "beside the task, beside the study"


def test_modules_of_one_name_beside_two_studies_are_two_modules(tmp_path: Path) -> None:
    for folder in ("one", "two", "one"):
        (tmp_path / folder).mkdir(exist_ok=True)
        source = f"import torch\ndef make(): return torch.nn.Linear({len(folder)}, {ord(folder[0])})"
        write(tmp_path / folder, source, "net_of_one_name.py")
        text = "[teacher]\nmodel = 'net_of_one_name:make'\nepochs = 1"
        teacher = load_study(write(tmp_path / folder, text)).build_task().teacher
        assert teacher.out_features == ord(folder[0])


def test_a_study_can_be_a_key_whatever_its_sections_hold(tmp_path: Path) -> None:
    """Workers keep one context for each study."""
    text = "[target]\nruntime = ['onnxruntime', 'openvino']\n[budget.on]\nopenvino = 1.0"
    one, two = load_study(write(tmp_path, text)), load_study(write(tmp_path, text))
    assert {one: 1}[two] == 1
    assert hash(one) != hash(two.changed("budget", latency_ms=3.0))
