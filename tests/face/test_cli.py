"""The command line: every mistake of a user's gives one line, exit code 2 and no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from autocompress.search.report.front import Front
from autocompress.search.store.settings import write_settings
from autocompress.search.store.trials import TrialStore
from autocompress.studies.study_file import StudyFile

Cli = Callable[..., tuple[int, str, str]]


def assert_one_line(said: tuple[int, str, str], *parts: str) -> None:
    code, _, err = said
    assert code == 2, err
    assert len(err.strip().splitlines()) == 1 and err.startswith("autocompress: "), err
    for part in parts:
        assert part in err, err


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in an empty folder: what they write by mistake would be seen, and no study lies around."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("search", "--budget-ms", "0"), ("latency_ms = 0", "above 0")),
        (("search", "--budget-ms", "-1"), ("latency_ms = -1", "above 0")),
        (("search", "--budget-ms", "nan"), ("nan", "above 0")),
        (("search", "--budget-ms", "inf"), ("inf", "above 0")),
        (("search", "--budget-ms", "fast"), ("fast", "--budget-ms")),
        (("search", "--budget", "fast"), ("fast", "5ms", "50%")),
        (("search", "--max-mb", "0"), ("max_mb = 0", "above 0")),
        (("search", "--trials", "0"), ("trials = 0", "from 1")),
        (("search", "--minutes", "-3"), ("minutes = -3", "above 0")),
        (("search", "--minutes", "3", "--hours", "1"), ("--minutes", "--hours")),
        (("search", "--threads", "0"), ("threads = 0", "from 1")),
        (("search", "--workers", "0"), ("workers = 0", "from 1")),
        (("search", "--seed", "-1"), ("seed = -1",)),
        (("search", "--percentile", "75"), ("75", "50")),
        (("search", "--executor", "rya"), ("rya", "ray")),
        (("search", "--baselines", "prunning-alone"), ("'prunning-alone'", "did you mean 'pruning-alone'")),
        (("search", "--precision", "2"), ("'2'", "2% or a fraction")),
        (("search", "--target", "openvino", "--any-of"), ("--any-of", "--target twice")),
        (("search", "--target", "onnxruntime", "--target", "onnxruntime"), ("one target twice",)),
        (("search", "digit"), ("'digit'", "did you mean 'digits'")),
        (("search", "nothing.toml"), ("no study file nothing.toml", "digits")),
        (("search", "--task", "missing.py"), ("no file 'missing.py'",)),
        (("search", "--task", "no_such_module:task"), ("no_such_module",)),
        (("search", "digits", "--task", "mine.py"), ("both", "give one")),
        (("serch",), ("serch",)),
        (("front", "nowhere"), ("no study in nowhere",)),
        (("front",), ("STUDY",)),
        (("pick", "nowhere", "--out", "x"), ("no study in nowhere",)),
        (("pick", "nowhere"), ("no study in nowhere",)),
        (("pick", "nowhere", "--out", "x", "--budget-ms", "nan"), ("budget-ms nan", "above 0")),
        (("pick", "nowhere", "--budget", "5s"), ("--budget 5s", "5ms", "50%")),
        (("pick", "nowhere", "--budget", "0%"), ("--budget 0%", "50%")),
        (("pick", "nowhere", "--budget", "50%", "--speedup", "2"), ("--budget", "--speedup")),
        (("pick", "nowhere", "--out", "x", "--max-mb", "0"), ("max-mb 0", "above 0")),
        (("export", "nowhere", "--trial", "1", "--to", "openvino"), ("no study in nowhere",)),
        (("space", "nothing.toml"), ("no study file nothing.toml",)),
        (("bench",), ("MODELS",)),
        (("bench", "missing.onnx"), ("missing.onnx",)),
        (("bench", "missing.onnx", "--threads", "0"), ("0",)),
        (("bench", "missing.onnx", "--runtime", "onnxruntim"), ("did you mean 'onnxruntime'",)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_mistake_on_the_command_line(cli: Cli, arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    assert_one_line(cli(*arguments), *parts)
    assert not list(Path().iterdir()), "nothing was begun"


@pytest.mark.parametrize(
    ("section", "parts"),
    [
        ("[search]\nminuts = 3", ("unknown key 'minuts'", "did you mean 'minutes'")),
        ("[space]\naxes = ['widht']", ("'widht'", "did you mean 'width'")),
        ("[space]\nkeep = ['0', '33']", ("unknown layer '33'", "3")),
        ("[target]\nruntime = 'onnxruntim'", ("did you mean 'onnxruntime'",)),
        ("[target]\ndevice = 'tpu'", ("'tpu'", "cpu")),
        ("[target]\nruntime = ['onnxruntime', 'openvin']", ("did you mean 'openvino'",)),
    ],
)
def test_a_mistake_in_a_study_file(
    cli: Cli, tmp_path: Path, tiny_task: Path, section: str, parts: tuple[str, ...]
) -> None:
    study = tmp_path / "mine.toml"
    study.write_text(f"[task]\nfrom = '{tiny_task}'\n{section}\n")
    assert_one_line(cli("space", study), *parts)
    if "keep" not in section:  # layers are known once the network was exported and the target calibrated
        assert_one_line(cli("search", study, "--trials", 1), *parts)


@pytest.mark.slow
def test_a_layer_that_is_not_there_ends_a_search_in_one_line(cli: Cli, tmp_path: Path, tiny_task: Path) -> None:
    study = tmp_path / "mine.toml"
    study.write_text(f"[task]\nfrom = '{tiny_task}'\n[target]\nprofile_seconds = 0\n[space]\nkeep = ['0', '33']\n")
    assert_one_line(cli("search", study, "--trials", 1), "unknown layer '33'", "3")


def test_labels_out_of_range_name_the_row(cli: Cli, tiny_task: Path) -> None:
    said = cli("search", "--task", f"{tiny_task}:wrong_labels_task", "--trials", 1)
    assert_one_line(said, "validation labels: row 7", "0 to 9")


@pytest.fixture
def empty_study(tmp_path: Path) -> Path:
    """A study that was begun but has no trial."""
    folder = tmp_path / "runs" / "mine"
    settings = StudyFile().model_copy(update={"name": "mine"})
    write_settings(folder, settings)
    TrialStore(folder, "mine", settings.search.objectives)
    return folder


def test_a_study_without_models_says_so(cli: Cli, empty_study: Path) -> None:
    code, out, err = cli("front", "mine")
    assert (code, err) == (0, "") and "no model was finished" in out
    assert_one_line(cli("pick", "mine", "--out", "x"), "no model was finished")


@pytest.mark.parametrize("content", [b"not a database at all" * 50, None])
def test_a_corrupt_database(cli: Cli, empty_study: Path, content: bytes | None) -> None:
    path = empty_study / "study.db"
    whole = path.read_bytes()
    for beside in empty_study.glob("study.db-*"):
        beside.unlink()
    path.write_bytes(whole[: len(whole) // 3] if content is None else content)
    assert_one_line(cli("front", empty_study), "study.db", "--fresh")


def test_a_corrupt_json_file(cli: Cli, empty_study: Path) -> None:
    (empty_study / "study.json").write_text("{")
    assert_one_line(cli("front", empty_study), "study.json", "--fresh")


OLDER = {"name": "mine", "target": {"probe_seconds": 30.0}, "search": {"objectives": ["accuracy", "latency_ms"]}}


@pytest.mark.parametrize(
    "command",
    [
        ("search", "{study}", "--trials", "1"),
        ("front", "mine"),
        ("pick", "mine", "--out", "deploy"),
        ("export", "mine", "--trial", "1", "--to", "onnxruntime"),
        ("space", "mine"),
        ("sensitivity", "mine"),
    ],
    ids=lambda command: command[0],
)
def test_a_study_of_an_older_version_is_refused_and_loses_nothing(
    cli: Cli, tmp_path: Path, tiny_task: Path, command: tuple[str, ...]
) -> None:
    folder = tmp_path / "runs" / "mine"
    (folder / "trials" / "0001").mkdir(parents=True)
    (folder / "study.json").write_text(json.dumps(OLDER))
    (folder / "study.db").write_bytes(b"trials of the version before")
    (folder / "space.json").write_text("{}")
    (folder / "teacher.safetensors").write_bytes(b"weights")
    (folder / "trials" / "0001" / "plan.json").write_text("{}")
    study = tmp_path / "mine.toml"
    study.write_text(f"[task]\nfrom = '{tiny_task}'\n")

    def content() -> dict[str, bytes]:
        return {str(p.relative_to(tmp_path)): p.read_bytes() for p in sorted(tmp_path.rglob("*")) if p.is_file()}

    before = content()
    said = cli(*(word.format(study=study) for word in command))
    assert_one_line(said, "written by an older version of AutoCompress (format 1, this one writes 2)", "--fresh")
    assert content() == before


def test_a_study_of_a_later_version_is_refused_too(cli: Cli, empty_study: Path) -> None:
    settings = json.loads((empty_study / "study.json").read_text())
    (empty_study / "study.json").write_text(json.dumps({**settings, "format": 9}))
    assert_one_line(cli("front", empty_study), "written by another version", "format 9")


def one_axis(folder: Path, task: str) -> Path:
    """A study where little is measured before its first trial."""
    path = folder / "mine.toml"
    path.write_text(
        f"""
        [task]
        from = "{task}"
        [target]
        batch = 32
        profile_seconds = 0
        precision = 0.5
        [space]
        axes = ["bits"]
        [search]
        without = ["latency_model", "sensitivity"]
        """
    )
    return path


@pytest.mark.slow
@pytest.mark.usefixtures("briefly")
def test_a_budget_out_of_reach_tells_the_fastest_measured(cli: Cli, tmp_path: Path, tiny_task: Path) -> None:
    said = cli("search", one_axis(tmp_path, f"{tiny_task}"), "--trials", 1, "--budget-ms", "0.000001")
    assert_one_line(said, "out of reach", "fastest plan", "measured at", "ms")


@pytest.mark.slow
def test_a_metric_that_gives_no_number(cli: Cli, tmp_path: Path, tiny_task: Path) -> None:
    said = cli("search", one_axis(tmp_path, f"{tiny_task}:nan_task"), "--trials", 1)
    assert_one_line(said, "metric 'odd_metric' returned nan")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limits", "binding"),
    [
        (("--budget-ms", "0.000001"), "latency"),
        (("--max-mb", "0.00001"), "size"),
        (("--min-accuracy", "2"), "accuracy"),
    ],
)
def test_impossible_constraints_name_what_binds(
    cli: Cli, finished: Front, tmp_path: Path, limits: tuple[str, ...], binding: str
) -> None:
    said = cli("pick", finished.folder, "--out", tmp_path / "x", *limits)
    assert_one_line(said, "no model meets the constraints", "closest is trial", "held back by its", binding)


def test_output_that_takes_ascii_alone_ends_no_command() -> None:
    code = (
        "import click; from autocompress.cli import main\n"
        "main.add_command(click.Command('draw', callback=lambda: print('a \\u2501 b')))\n"
        "main.main(['draw'])"
    )
    bare = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=bare)
    assert (done.returncode, done.stdout, done.stderr) == (0, "a ? b\n", "")


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("my_task.py", "my_task"),
        ("folder/12:30:00/mine.py", "mine"),
        ("folder/12:30:00/mine.py:make", "mine"),
        ("package.module:make", "module"),
    ],
)
def test_a_study_is_named_after_the_file_of_its_task(spec: str, name: str) -> None:
    from autocompress.cli.options import find_study

    assert find_study(None, spec).name == name


def imported_by(*arguments: str) -> list[str]:
    code = (
        "import sys; from autocompress.cli import main\n"
        f"try: main.main({list(arguments)!r})\n"
        "except SystemExit: pass\n"
        "print([n for n in ('torch', 'pandas', 'optuna', 'onnxruntime', 'matplotlib') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip().splitlines()


@pytest.mark.parametrize("arguments", [("--help",), ("search", "--help"), ("--version",)])
def test_help_costs_no_heavy_import(arguments: tuple[str, ...]) -> None:
    lines = imported_by(*arguments)
    assert len(lines) > 1 and lines[-1] == "[]"


def test_an_internal_fault_gives_a_traceback_and_exit_code_1(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr("autocompress.studies.study_file.load_study", broken)
    code, _, err = cli("search")
    assert code == 1 and "Traceback" in err and "a fault of ours" in err
