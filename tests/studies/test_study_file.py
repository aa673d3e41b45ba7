"""Study files: every mistake gets one line that says what is allowed."""

from __future__ import annotations

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
    axes = ["bits", "width"]
    bits = [8, 32]
    [search]
    minutes = 3
    """
    study = load_study(write(tmp_path, text))
    assert study.data.validation == 5000 and study.data.mean == (0.0, 0.5, 1.0)
    assert study.space.axes == ("bits", "width") and study.space.bits == (8, 32)
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
        ("[data]\nkind = 'parkett'", "unknown value of kind 'parkett'; did you mean 'parquet'"),
        ("[data]\nvalidation = 1.5", "validation = 1.5; allowed: a whole number from 1 or a number above 0 below 1"),
        ("[data]\nstd = [0.0]", "allowed: a list of a number above 0"),
        ("[space]\naxes = ['widht']", "'widht'; did you mean 'width'"),
        ("[space]\naxes = []", r"axes = \[\]; allowed"),
        ("[space]\nbits = [7]", "allowed: a list of 4, 8, 16, 32"),
        ("[space]\nmin_channels_fraction = 0.0", "a number from 0.1 up to 1"),
        ("[recovery]\nrungs = [1.0, 0.5]", "must rise strictly and end with 1.0"),
        ("[recovery]\nepochs = -1", "epochs = -1; allowed: a number above 0"),
        ("[search]\nobjectives = ['speed']", "unknown value of objectives 'speed'"),
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
    assert (other.budget.latency_ms, other.search.trials, other.search.minutes) == (5.0, 7, 3.0)
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
        ("[task]\nfrom = 'no.py'\n[data]\nkind = 'digits'", StudyFileError, "remove one of them"),
    ],
)
def test_tasks_that_cannot_be_built(tmp_path: Path, text: str, error: type[AutoCompressError], message: str) -> None:
    study = load_study(write(tmp_path, text))
    with pytest.raises(error, match=message) as caught:
        study.build_task()
    assert "\n" not in str(caught.value)


def test_task_file_is_found_beside_the_study_file(tmp_path: Path) -> None:
    source = "from autocompress.studies.study_file import load_study as load"
    write(tmp_path, f"{source}\ndef task(): return load('digits').build_task()", "mine.py")
    task = load_study(write(tmp_path, "[task]\nfrom = 'mine.py'")).build_task()
    assert task.name == "digits"


def test_a_study_can_be_a_key_whatever_its_sections_hold(tmp_path: Path) -> None:
    """Workers keep one workbench for each study."""
    text = "[target]\nruntime = ['onnxruntime', 'openvino']\n[budget.on]\nopenvino = 1.0"
    one, two = load_study(write(tmp_path, text)), load_study(write(tmp_path, text))
    assert {one: 1}[two] == 1
    assert hash(one) != hash(two.changed("budget", latency_ms=3.0))
