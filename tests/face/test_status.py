"""How a study stands, as `status` and `studies` tell it while it runs and afterwards."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from autocompress.search.pace import Snapshot
from autocompress.search.report.front import Front
from autocompress.search.report.standing import read_standing
from autocompress.search.store.lock import locked
from autocompress.search.store.status import StatusKeeper

pytestmark = pytest.mark.slow

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def study(finished: Front, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished.folder, tmp_path / "runs" / finished.folder.name))


def test_a_study_that_nobody_searches_tells_what_became_of_it(finished: Front, study: Path, cli: Cli) -> None:
    before = {path: path.stat().st_mtime_ns for path in study.rglob("*")}
    code, out, _ = cli("status", study)
    counts = Counter(str(trial.state) for trial in finished.trials)
    assert code == 0 and "no search runs" in out and f"{counts['finished']} finished" in out
    best = finished.fitting[0]
    assert f"trial {best.number}" in out and best.metric_text in out
    told = json.loads(cli("status", study, "--json")[1])
    assert told["trials"] == dict(counts) and told["best"]["trial"] == best.number and not told["running"]
    assert told["best"]["p50_ms"] == pytest.approx(best.latency.p50_ms)
    assert {path: path.stat().st_mtime_ns for path in study.rglob("*")} == before, "it reads, and writes nothing"


def test_a_running_search_is_seen_from_another_terminal(finished: Front, study: Path, cli: Cli) -> None:
    keeper = StatusKeeper(study)
    with locked(study):
        assert "open, process" in cli("status", study)[1], "it has said nothing of itself yet"
        keeper.look(Snapshot(finished.trials, 2, ["trial 9 (learned): training"], 30.0, waiting=3), 125.0)
        code, out, _ = cli("status", study)
        assert code == 0 and f"running, process {os.getpid()} on" in out and "2 min left" in out
        assert "trial 9 (learned): training" in out and "3 waiting at a rung" in out
        assert "running" in cli("studies", study.parent)[1]
        keeper.look(Snapshot(finished.trials, 2, ["another"], 31.0), 124.0)
        assert "another" not in cli("status", study)[1], "it is noted every few seconds alone"
    assert read_standing(study).status is None and "no search runs" in cli("status", study)[1]


def test_studies_are_listed_also_where_one_cannot_be_read(study: Path, cli: Cli) -> None:
    broken = study.parent / "broken"
    broken.mkdir()
    (broken / "study.json").write_text("{")
    code, out, _ = cli("studies", study.parent)
    lines = out.splitlines()
    assert code == 0 and len(lines) == 2
    assert lines[0].startswith("broken") and "cannot be read" in lines[0]
    assert lines[1].startswith(study.name) and "trial" in lines[1]
    for folder in (study.parent / "none", study):
        code, _, err = cli("studies", folder)
        assert code == 2 and len(err.splitlines()) == 1
