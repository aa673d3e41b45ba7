"""What a user says counts, or is refused in one line; names and hints are those that lead somewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulated_study import write_study

import autocompress
from autocompress.cli.options import find_study
from autocompress.errors import AutoCompressError, StudyFileError, UsageError
from autocompress.studies.loading import load_function
from autocompress.studies.study_file import load_study

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("command", "part"),
    [
        (("front", "simulated", "--techniques", "--csv"), "leave out --csv"),
        (("search", "runs/simulated", "--runs", "runs", "--trials", "1"), "leave out --runs"),
        (("pick", "simulated", "--layout", "hub"), "--out"),
        (("search", "digits", "--executor", "local", "--workers", "2"), "--executor local"),
    ],
    ids=lambda value: " ".join(value)[:40],
)
def test_options_that_would_have_no_effect_are_refused(
    cli: Cli, tmp_path: Path, command: tuple[str, ...], part: str
) -> None:
    write_study(tmp_path / "runs" / "simulated", 8)
    code, _, err = cli(*command)
    assert code == 2 and len(err.splitlines()) == 1 and part in err


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("[teacher]\nlearning_rate = 0.1\n", "learning_rate"),
        ("[teacher]\nbatch_size = 8\nepochs = 0\n", "batch_size"),
        ("[space]\naxes = ['channels']\nbits = [8]\n", "bits"),
        ("[space]\naxes = ['bits']\npatterns = ['2:4']\n", "patterns"),
        ("[recovery]\nrank = 4\n", "rank"),
        ("[space]\naxes = ['bits']\n[recovery]\nways = ['full', 'lora']\n", r"ways = .*"),
        ("[space]\naxes = ['bits']\n[recovery]\nramp = 'cubic'\n", "ramp"),
        ("[space]\naxes = ['bits']\n[recovery]\nlearned_steps = true\n", "learned_steps"),
        ("[space]\naxes = ['bits']\ncriterion = 'l1'\n", "criterion"),
    ],
)
def test_keys_that_would_have_no_effect_are_refused(text: str, key: str) -> None:
    Path("mine.toml").write_text(f"[task]\nfrom = 'mine.py'\n{text}")
    with pytest.raises(StudyFileError, match=f"{key} has no effect"):
        load_study("mine.toml")


@pytest.mark.parametrize(
    "text",
    [
        "[teacher]\nepochs = 1\nlearning_rate = 0.1\n",
        "[space]\naxes = ['bits', 'an_installed_one']\npatterns = ['2:4']\n",
    ],
)
def test_keys_that_may_have_an_effect_are_taken(text: str) -> None:
    Path("mine.toml").write_text(f"[task]\nfrom = 'mine.py'\n{text}")
    load_study("mine.toml")


@pytest.mark.parametrize(
    ("given", "error", "part"),
    [
        ({"budget_ms": 5, "budget": {"latency_ms": 3}}, UsageError, "both budget_ms and budget"),
        ({"axes": ["bits"], "space": {"axes": ["channels"]}}, UsageError, "both axes and space"),
        ({"axes": ["channels"], "space": {"bits": (8,)}}, StudyFileError, "bits has no effect"),
    ],
)
def test_one_thing_is_said_once_in_python(
    tiny_task: Path, given: dict[str, Any], error: type[AutoCompressError], part: str
) -> None:
    from autocompress.studies.task import load_task

    with pytest.raises(error, match=part):
        autocompress.compress(load_task(str(tiny_task)), trials=1, runs="other", **given)
    assert not Path("other").exists()


def test_a_task_in_a_package_has_a_name_of_its_own() -> None:
    names = [find_study(None, spec).name for spec in ("pkg.resnet:task", "pkg.vgg:task", "plain:task", "a.b/c.py:task")]
    assert names == ["resnet", "vgg", "plain", "c"]


def test_what_is_built_into_python_is_told_in_one_line() -> None:
    with pytest.raises(StudyFileError, match="SystemExit"):
        load_function("sys:exit", "task")()


def test_a_root_in_the_home_folder_is_looked_for_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from autocompress.studies.data import torchvision
    from autocompress.studies.schema import DataSection

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    looked: list[str] = []

    def builder(root: str, download: bool, train: bool) -> None:
        looked.append(root)
        raise RuntimeError("not there")

    builder.__name__ = "MNIST"
    with pytest.raises(AutoCompressError, match="cannot be downloaded"):
        torchvision._read(builder, DataSection(kind="torchvision", name="MNIST", root="~/data"), tmp_path, True)
    assert set(looked) == {str(tmp_path / "home" / "data")}
