"""Logs of a search: in files of bounded size, with who said what when, and nothing more on the terminal."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from simulation import SimulatedExecutor, make_driver, make_problem

from autocompress.quieting import quietly
from autocompress.search.logs import LEVELS, about_trial, driver_log, log
from autocompress.search.store.logs import MOST_BYTES, add_to_log, driver_log_path, take_log, trim_log, worker_log_path
from autocompress.search.watch import Logged, Silent

LINE = re.compile(
    r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4} (debug|info|warning|error) +(\S+)/(\d+)( trial \d+:)? (.*)"
)

PRINTER = """
import os, sys
handle = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
os.dup2(handle, 1)
for line in sys.stdin:
    print("said", line.strip(), flush=True)
    print("done", file=sys.stderr, flush=True)
"""


def test_a_log_has_a_bounded_size_and_keeps_its_end(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "driver.log"
    line = b"x" * 999 + b"\n"
    for number in range(3 * MOST_BYTES // len(line)):
        add_to_log(path, b"%06d " % number + line)
    files = sorted(path.parent.iterdir())
    assert [file.name for file in files] == ["driver.log", "driver.log.1"]
    assert all(file.stat().st_size <= MOST_BYTES for file in files)
    kept = [int(each[:6]) for file in reversed(files) for each in file.read_bytes().splitlines()]
    assert kept == list(range(kept[0], number + 1)), "the last lines, all of them, in their order"


def test_a_disk_that_takes_no_log_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder would be")
    add_to_log(tmp_path / "logs" / "driver.log", b"a line\n")
    with driver_log("info") as handler:
        handler.begin(tmp_path)
        log("a line")
    assert take_log(tmp_path / "nothing") == b""
    trim_log(tmp_path / "nothing")


def test_a_process_goes_on_printing_while_its_words_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "printed"
    with subprocess.Popen(
        [sys.executable, "-c", PRINTER, str(path)], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None and process.stderr is not None

        def say(words: str) -> None:
            process.stdin.write(f"{words}\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
            assert process.stderr.readline() == "done\n"  # type: ignore[union-attr]

        say("one")
        assert take_log(path) == b"said one\n"
        say("two")
        say("three")
        assert take_log(path, 11) == b"[9 bytes were left out here]\nsaid three\n"
        say("four")
        assert path.read_bytes() == b"said four\n", "at the end of what is there, not where it was"
        process.stdin.close()


def test_what_a_process_prints_without_end_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "worker-1.log"
    path.write_bytes(b"a short one\n")
    trim_log(path)
    assert path.read_bytes() == b"a short one\n"
    path.write_bytes(b"y" * (MOST_BYTES + 1) + b"the end\n")
    trim_log(path)
    assert path.stat().st_size < MOST_BYTES * 0.6 and path.read_bytes().endswith(b"ythe end\n")


def test_names_of_machines_lead_nowhere_else(tmp_path: Path) -> None:
    assert worker_log_path(tmp_path, 2) == tmp_path / "logs" / "worker-2.log"
    assert worker_log_path(tmp_path, 1, "node-a.local") == tmp_path / "logs" / "worker-node-a.local-1.log"
    assert worker_log_path(tmp_path, 1, "../../etc").parent == tmp_path / "logs"


def said(study: Path) -> list[tuple[str, str, str]]:
    """Level, trial and words of each line, all of which have the form of a line of this process."""
    found = [LINE.fullmatch(line) for line in driver_log_path(study).read_text().splitlines()]
    assert all(each is not None and each[3] == str(os.getpid()) for each in found)
    return [(each[1], (each[4] or "").strip(), each[5]) for each in found if each is not None]


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_is_the_least_that_is_logged(tmp_path: Path, level: str) -> None:
    with driver_log(level) as handler:
        for each in LEVELS:
            log(f"a line of {each}", logging.getLevelNamesMapping()[each.upper()])
        handler.begin(tmp_path)
        with about_trial(7), quietly():
            log("about\na trial,  in one line", logging.ERROR)
    log("of nobody", logging.ERROR)
    expected = [(each, "", f"a line of {each}") for each in LEVELS[LEVELS.index(level) :]]
    assert said(tmp_path) == [*expected, ("error", "trial 7:", "about a trial, in one line")]


def test_what_ends_a_search_is_the_last_line(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), driver_log("warning") as handler:
        handler.begin(tmp_path)
        raise RuntimeError("the plug was\npulled")
    assert said(tmp_path) == [("error", "", "ended by RuntimeError: the plug was pulled")]


TERMINAL = """
import sys; from pathlib import Path
from autocompress.remarks import remark
from autocompress.search.logs import driver_log, log
with driver_log("debug") as handler:
    handler.begin(Path(sys.argv[1]))
    log("of the search")
    remark("a file is damaged")
remark("another one")
"""


def test_nothing_more_than_remarks_goes_to_the_terminal(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TERMINAL, str(tmp_path)], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == ""
    assert done.stderr.splitlines() == ["autocompress: a file is damaged", "autocompress: another one"]
    text = driver_log_path(tmp_path).read_text()
    assert "of the search" in text and text.count("a file is damaged") == 1 and "another one" not in text


def test_a_program_that_asks_for_it_gets_the_lines_too(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with driver_log("info"):
        log("not asked for")
    with caplog.at_level(logging.INFO), driver_log("info"):
        log("asked for")
    assert [record.getMessage() for record in caplog.records] == ["asked for"]


def test_trials_that_end_as_a_search_takes_its_leave_are_logged_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Closing(SimulatedExecutor):
        """Does the last job as it is closed, as workers do that were about to end it."""

        def run_pending(self) -> None:
            if not self.closes_next:
                super().run_pending()

        def close(self) -> None:
            super().run_pending()

        @property
        def closes_next(self) -> bool:
            return bool(self.waiting) and self.waiting[0][0].step == "build"

    problem = make_problem()
    executor, logged = Closing(problem), Logged(Silent())
    driver = make_driver(problem, executor, tmp_path)
    with caplog.at_level(logging.INFO), driver_log("info"):
        driver.run(lambda: executor.closes_next, lambda snapshot: logged.show(snapshot, None))
        logged.note(driver.decisions.snapshot())
    (last,) = [trial for trial in driver.trials if trial.finished]
    said = [record.getMessage() for record in caplog.records]
    assert sum(line.startswith(f"trial {last.number} ({last.label}): finished") for line in said) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("briefly")
def test_a_search_logs_what_it_says_and_what_becomes_of_jobs(
    tiny_task: Path, sections: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    from autocompress.search.run import run_search
    from autocompress.studies.study_file import StudyFile

    class Told(Silent):
        def __init__(self) -> None:
            self.lines: list[str] = []

        def say(self, line: str) -> None:
            self.lines.append(" ".join(line.split()))

    settings = StudyFile().changed("task", **{"from": str(tiny_task)})
    for name, values in sections.items():
        settings = settings.changed(name, **values)
    without = ("latency_model", "sensitivity", "initial_design")
    settings = settings.changed("search", trials=2, executor="processes", workers=1, without=without)
    told = Told()
    front = run_search(settings, None, tmp_path, watcher=told, log_level="debug").front
    lines = said(front.folder)
    words = [line for _, _, line in lines]
    assert told.lines and all(line in words for line in told.lines), "what the terminal shows"
    for trial in front.trials:
        mine = [line for _, about, line in lines if about == f"trial {trial.number}:"]
        assert any(line.startswith("begins measuring its shape") for line in mine)
        assert any(re.match(r"measuring its shape: took \d+\.\d\d s", line) for line in mine)
        assert any(line.startswith("plan: {") for line in mine)
        assert any(line.startswith(f"trial {trial.number} ({trial.label}): {trial.state}") for line in words)
    assert words[-1].startswith("ended after ")
    worker = worker_log_path(front.folder, 1).read_text()
    assert "trial 1: begins measuring its shape" in worker and "trial 1: measuring its shape: took" in worker


def test_a_level_that_does_not_exist_is_refused_with_those_that_do(cli: Callable[..., tuple[int, str, str]]) -> None:
    from autocompress.cli.options import LOG_LEVELS

    code, _, err = cli("search", "--log-level", "loud")
    assert code == 2 and len(err.splitlines()) == 1 and all(level in err for level in LEVELS)
    assert LOG_LEVELS == LEVELS
