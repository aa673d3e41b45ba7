"""The search from Python: settings, Ctrl-C and reading a study."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from brief import brief_command

import autocompress
from autocompress import api
from autocompress.search import run
from autocompress.search.pace import Snapshot
from autocompress.search.report.front import Front
from autocompress.studies.study_file import StudyFile
from autocompress.studies.task import Task

TASK: Task = SimpleNamespace(name="mine")  # type: ignore[assignment]


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What searches were begun with; none is run."""
    calls: list[tuple[Any, ...]] = []

    def run_search(*arguments: Any, **more: Any) -> Any:
        calls.append(arguments)
        return SimpleNamespace(front="the front", trouble="")

    monkeypatch.setattr(run, "run_search", run_search)
    return calls


KEYWORDS: dict[str, tuple[Any, str, str, Any]] = {
    "budget_ms": (5, "budget", "latency_ms", 5.0),
    "percentile": (90, "budget", "percentile", 90),
    "min_accuracy": (0.8, "budget", "min_accuracy", 0.8),
    "max_drop": ("1%", "budget", "max_drop", "1%"),
    "max_mb": (2.5, "budget", "max_mb", 2.5),
    "speedup": (2, "budget", "speedup", 2.0),
    "max_size": ("25%", "budget", "max_size", "25%"),
    "runtime": ("openvino", "target", "runtime", "openvino"),
    "device": ("cuda", "target", "device", "cuda"),
    "threads": (4, "target", "threads", 4),
    "batch": (8, "target", "batch", 8),
    "axes": (["width", "bits"], "space", "axes", ("width", "bits")),
    "keep": (["conv1"], "space", "keep", ("conv1",)),
    "epochs": (1.5, "recovery", "epochs", 1.5),
    "objectives": (["accuracy", "size_bytes"], "search", "objectives", ("accuracy", "size_bytes")),
    "trials": (7, "search", "trials", 7),
    "minutes": (3, "search", "minutes", 3.0),
    "patience": (1.0, "search", "patience", 1.0),
    "seed": (9, "search", "seed", 9),
    "target": ({"profile_seconds": 0.0}, "target", "profile_seconds", 0.0),
    "budget": ({"on": {"onnxruntime": 2.0}}, "budget", "on", {"onnxruntime": 2.0}),
    "space": ({"min_channels_fraction": 0.5}, "space", "min_channels_fraction", 0.5),
    "recovery": ({"batch_size": 64}, "recovery", "batch_size", 64),
    "search": ({"sampler": "random"}, "search", "sampler", "random"),
}
"""Keyword -> a value, the section and key that it sets, and what it becomes there."""


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_each_keyword_sets_its_key_alone(began: list[tuple[Any, ...]], keyword: str) -> None:
    value, section, key, expected = KEYWORDS[keyword]
    assert autocompress.compress(TASK, **{keyword: value}) == "the front"
    ((settings, task, *_),) = began
    assert task is TASK and settings.name == "mine"
    changed = settings.changed("search", minutes=None) if keyword not in ("trials", "minutes") else settings
    plain = StudyFile().model_copy(update={"name": "mine"})
    assert getattr(getattr(settings, section), key) == expected
    assert changed == plain.changed(section, **{key: expected})


def test_all_keywords_go_through_at_once(began: list[tuple[Any, ...]], tmp_path: Path) -> None:
    several = {
        "runtime": ["onnxruntime", "openvino"],
        **dict.fromkeys(("any_of", "fresh", "remeasure"), True),
        "runs": tmp_path,
        "progress": "none",
        **{"tensorboard": None, "mlflow": None},  # tried with the libraries, where followers are
    }
    objectives = {"objectives": ["accuracy", "latency_ms"]}  # patience watches both
    values = {keyword: value for keyword, (value, *_) in KEYWORDS.items()} | several | objectives
    known = set(inspect.signature(autocompress.compress).parameters) - {"task", "callback"}
    assert set(values) == known, "a keyword that is not tried here"
    del values["speedup"]  # it says the same as budget_ms
    autocompress.compress(TASK, **values)  # type: ignore[arg-type]
    ((settings, task, runs, fresh, watcher, stop),) = began
    assert (task, runs, fresh, watcher, stop.asked.is_set()) == (TASK, tmp_path, True, None, False)
    assert settings.target.runtime == ("onnxruntime", "openvino") and settings.target.any_of
    for keyword, (_, section, key, expected) in KEYWORDS.items():
        if keyword not in ("runtime", "objectives", "speedup"):
            assert getattr(getattr(settings, section), key) == expected, keyword


def test_every_keyword_is_typed_and_told(began: list[tuple[Any, ...]]) -> None:
    parameters = inspect.signature(autocompress.compress).parameters
    told = inspect.getdoc(autocompress.compress) or ""
    for name, parameter in parameters.items():
        assert parameter.annotation is not inspect.Parameter.empty
        assert f"    {name}: " in told
        assert name in ("task", "budget_ms") or parameter.kind is inspect.Parameter.KEYWORD_ONLY


def test_a_search_ends_after_some_minutes_where_nothing_says_when(began: list[tuple[Any, ...]]) -> None:
    autocompress.compress(TASK)
    autocompress.compress(TASK, trials=3)
    assert [call[0].search.minutes for call in began] == [api.DEFAULT_MINUTES, None]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"budget_ms": -1.0}, "latency_ms = -1"),
        ({"percentile": 75}, "percentile"),
        ({"trials": 0}, "trials = 0"),
        ({"runtime": ["openvino", "openvino"]}, "names one target twice"),
        ({"search": {"samplr": "random"}}, "did you mean 'sampler'"),
        ({"search": {"workers": 2}}, "write it into a file: --task"),
        ({"search": {"executor": "processes"}}, "write it into a file: --task"),
        ({"progress": "loud"}, "unknown progress 'loud'"),
        ({"axes": ["width", "channels"]}, "keep one"),
    ],
)
def test_a_value_that_cannot_be_is_told_in_one_line(
    began: list[tuple[Any, ...]], values: dict[str, Any], words: str
) -> None:
    with pytest.raises(autocompress.AutoCompressError) as caught:
        autocompress.compress(TASK, **values)
    assert words in str(caught.value) and "\n" not in str(caught.value)
    assert not began


def test_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="latency_ms"):
        autocompress.compress(TASK, latency_ms=5.0)  # type: ignore[call-arg]


def test_lines_of_progress_are_printed_where_they_are_asked_for(
    began: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    autocompress.compress(TASK, progress="lines")
    began[0][4].say("so far")
    assert "so far" in capsys.readouterr().out
    autocompress.compress(TASK, progress="auto")
    assert began[1][4] is None, "neither a terminal nor a notebook"


def test_a_callback_hears_of_each_trial_that_ended(
    began: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    heard: list[int] = []
    autocompress.compress(TASK, callback=lambda snapshot: heard.append(len(snapshot.trials)))
    watcher = began[0][4]
    watcher.say("so far")
    for trials, new in ((3, 0), (3, 0), (4, 1), (4, 1), (6, 3)):
        watcher.show(Snapshot([SimpleNamespace()] * trials, new, (), 1.0), None)  # type: ignore[list-item]
    assert heard == [4, 6], "three of an earlier run are not told again"
    assert not capsys.readouterr().out, "nothing is printed where nobody looks"


TWICE = """
import os, signal, time
from types import SimpleNamespace
import autocompress
from autocompress.search import run
from autocompress.search.pace import Snapshot

before, asked = signal.getsignal(signal.SIGINT), []

def run_search(*arguments, **more):
    stop = arguments[5]
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(100):
        time.sleep(0.01)
        if stop():
            break
    asked.append(stop.asked.is_set())
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)

run.run_search = run_search
try:
    autocompress.compress(SimpleNamespace(name="mine"), progress="none")
except KeyboardInterrupt:
    print("ended", asked, signal.getsignal(signal.SIGINT) is before)
"""


@pytest.mark.slow
def test_ctrl_c_asks_once_and_ends_at_once_the_second_time() -> None:
    # in a process of its own: a signal to this one may reach whoever runs the tests
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=300)
    assert done.stdout.strip() == "ended [True] True", done.stderr


INTERRUPTED = """
import json, sys, threading, os, signal
import autocompress
from autocompress.search.decisions import Decisions
sys.path.insert(0, {folder!r})
from tiny_task import task

end = Decisions._end
def ended(self, trial):
    end(self, trial)
    if len(self.trials) == 2:
        os.kill(os.getpid(), signal.SIGINT)  # what a terminal sends at Ctrl-C
Decisions._end = ended
front = autocompress.compress(
    task(), batch=32, trials=50, runs={runs!r}, axes=["bits"], epochs=0.5,
    target={{"profile_seconds": 0.0, "precision": 0.5}}, search={{"without": ["latency_model", "sensitivity"]}},
)
print(json.dumps([t.number for t in front.trials]))
print(repr(front))
"""


@pytest.mark.slow
def test_ctrl_c_in_compress_gives_the_front_so_far(tiny_task: Path, tmp_path: Path) -> None:
    script = tmp_path / "interrupted.py"
    script.write_text(INTERRUPTED.format(folder=str(tiny_task.parent), runs=str(tmp_path)))
    done = subprocess.run(brief_command(script), capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    numbers, *shown = done.stdout.strip().splitlines()
    assert 2 <= len(json.loads(numbers)) <= 3, "it ended after the step under way"
    assert shown[0].startswith("<Front of tiny: ") and "Traceback" not in done.stderr
    again = autocompress.open_study(tmp_path / "tiny")
    assert [t.number for t in again.trials] == json.loads(numbers) and again.best[0].confirmed is not None


@pytest.mark.slow
def test_a_study_is_opened_by_its_folder_and_by_its_name(
    finished: Front, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = finished.folder.parent
    (tmp_path / "runs").symlink_to(runs)
    monkeypatch.chdir(tmp_path)
    for path in (finished.folder, str(finished.folder), finished.folder.name, Path("runs") / finished.folder.name):
        found = autocompress.open_study(path)
        assert found.trials == finished.trials and found.limits == finished.limits
        assert found.pick().entry.number == finished.pick().entry.number
    with pytest.raises(autocompress.UsageError, match="no study in nowhere"):
        autocompress.open_study("nowhere")
