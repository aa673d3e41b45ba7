"""Several drivers that share one study on a server: none does what another does, and nothing is lost with one."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from brief import brief_command
from postgres import Postgres, postgres_server
from shared_studies import STUDY, a_driver
from simulation import SimulatedExecutor, make_driver, make_problem
from stored_trials import HELPERS, SPACE, a_trial

from autocompress.errors import StorageError, StudyOpen
from autocompress.search import peers
from autocompress.search.repair import repair
from autocompress.search.report.standing import read_standing
from autocompress.search.store import leases
from autocompress.search.store.access import access_alone
from autocompress.search.store.database import database_of, read_trials
from autocompress.search.store.settings import write_settings
from autocompress.search.store.trials import TrialStore
from autocompress.search.trial import Trial, TrialState
from autocompress.spaces.spec import StudentSpec
from autocompress.studies.study_file import StudyFile

Said = tuple[int, str, str]
TRIALS = 24
pytestmark = pytest.mark.xdist_group("postgres")


def of_plan(channels: int) -> Callable[[int], Trial]:
    return lambda number: replace(
        a_trial(number, TrialState.RUNNING), spec=StudentSpec({"c0": channels}), measured={}, rungs=(), warm_start=None
    )


def begun(store: TrialStore, channels: int) -> Trial:
    trial = store.claim(of_plan(channels))
    assert trial is not None
    return trial


def finish(store: TrialStore, trial: Trial) -> Trial:
    ended = replace(a_trial(trial.number), spec=trial.spec)
    store.end(ended, [0.9, 1.0], SPACE)
    return ended


@pytest.fixture
def two(tmp_path: Path, postgres: Postgres) -> Iterator[tuple[TrialStore, TrialStore]]:
    with a_driver(tmp_path / "study", postgres.address) as one, a_driver(tmp_path / "study", "") as other:
        yield one, other


def test_no_number_and_no_plan_is_given_twice(two: tuple[TrialStore, TrialStore]) -> None:
    one, other = two
    first = begun(one, 1)
    assert other.claim(of_plan(1)) is None, "it is being tried"
    second, third = begun(other, 2), begun(one, 3)
    assert [t.number for t in (first, second, third)] == [1, 2, 3]
    finish(one, first)
    assert other.claim(of_plan(1)) is None, "it has just ended"
    assert [t.number for t in other.news()] == [1] and other.news() == []
    assert begun(other, 1).number == 4, "who knows what came of it may try it again"


def test_drivers_learn_what_others_ended_and_try(two: tuple[TrialStore, TrialStore]) -> None:
    one, other = two
    ended = [finish(one, begun(one, channels)) for channels in (1, 2)]
    running = begun(one, 3)
    assert other.news() == ended == other.ended() and one.news() == []
    assert other.leases is not None and list(other.leases.running()) == [running.number]
    assert not other.interrupted() and [t.number for t in one.interrupted()] == [3], "it is the other's"


def test_what_a_driver_leaves_is_taken_over_by_one(tmp_path: Path, postgres: Postgres) -> None:
    folder = tmp_path / "study"
    with a_driver(folder, postgres.address) as one, a_driver(folder, "") as other:
        with a_driver(folder, "") as third:
            left = [begun(third, channels) for channels in (1, 2, 3)]
            waits = replace(left[0].moved(TrialState.WAITING), rungs=(0.5,))
            third.begin(waits)
            (folder / "trials" / "0002" / "plan.json").unlink()  # it died before it had written that
            ended = replace(a_trial(3), spec=left[2].spec)
            third.begin(ended)  # and before this had its row
            assert one.left() == [] == other.left()
        found = one.left()
        assert found == [waits, left[1], ended] and other.left() == []
        assert read_trials(folder, "study") == [ended] == other.news()
        assert [t.number for t in one.interrupted()] == [1, 2]


def test_a_driver_that_stood_still_writes_nothing_more(
    tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "DEAD_S", 1.0)
    monkeypatch.setattr(leases, "BEAT_S", 0.2)
    folder = tmp_path / "study"
    with a_driver(folder, postgres.address) as one, a_driver(folder, "") as other:
        trial = begun(one, 1)
        assert one.leases is not None and other.leases is not None and one.leases.keeper and not other.leases.keep()
        time.sleep(1.5)
        assert other.left() == [], "it lives"
        one.leases._done.set()  # stands still
        time.sleep(1.5)
        assert [t.number for t in other.left()] == [1] and other.leases.keep()
        for act in (lambda: finish(one, trial), lambda: one.claim(of_plan(2))):
            with pytest.raises(StorageError, match="took this search for dead") as caught:
                act()
            assert "\n" not in str(caught.value)
        assert finish(other, trial).number == 1 and len(read_trials(folder, "study")) == 1


def test_of_the_drivers_that_were_asked_to_log_to_a_place_one_does(tmp_path: Path, postgres: Postgres) -> None:
    folder, place = tmp_path / "study", "MLflow at http://server:5000"
    with a_driver(folder, postgres.address) as keeper, a_driver(folder, "") as other:
        assert keeper.leases is not None and other.leases is not None and keeper.leases.keeper
        with a_driver(folder, "") as third:
            assert third.leases is not None
            assert other.leases.turns.logged_by(place) == "" == other.leases.turns.logged_by(place), (
                "whoever keeps the study"
            )
            assert (
                third.leases.turns.logged_by(place)
                == keeper.leases.turns.logged_by(place)
                == other.leases.others()[0].words
            )
            assert third.leases.turns.logged_by("elsewhere") == ""
            assert other.leases.turns.logged_by("elsewhere")
        assert other.leases.turns.logged_by("elsewhere") == "", "it has left"
        assert not other.leases.is_last() and other.leases.turns.logged_by(place) != "", "this one has, too"
        assert keeper.leases.turns.logged_by(place) == ""


def test_a_plan_that_is_chosen_at_the_gate_is_not_tried_by_two(two: tuple[TrialStore, TrialStore]) -> None:
    one, other = two
    first, second = begun(one, 1), begun(other, 2)
    assert not one.take_plan(of_plan(2)(first.number)), "the other one tries it"
    assert one.take_plan(of_plan(3)(first.number)) and other.claim(of_plan(3)) is None
    assert begun(other, 1).number == 3, "it was not chosen"
    finish(other, second)
    assert not one.take_plan(of_plan(2)(first.number)), "it has just ended"
    assert [t.number for t in one.news()] == [2] and one.take_plan(of_plan(2)(first.number))


def test_drivers_that_a_server_left_alone_do_not_take_each_other_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "DEAD_S", 2.0)
    monkeypatch.setattr(leases, "BEAT_S", 0.2)
    folder = tmp_path / "study"
    with postgres_server() as server, a_driver(folder, server.address) as one, a_driver(folder, "") as other:
        trials = [begun(store, channels) for store, channels in ((one, 1), (other, 2))]
        server.end()
        time.sleep(3.0)
        server.begin()
        for _ in range(20):
            assert one.left() == [] == other.left()
            time.sleep(0.1)
        for store, trial in zip((one, other), trials, strict=True):
            finish(store, trial)
        assert [t.number for t in read_trials(folder, "study")] == [1, 2]


def test_a_study_that_is_searched_is_neither_repaired_nor_cleaned(tmp_path: Path, postgres: Postgres) -> None:
    folder = tmp_path / "study"
    with a_driver(folder, postgres.address) as store:
        write_settings(folder, StudyFile(name="simulated"))
        with pytest.raises(StudyOpen, match=f"process {os.getpid()} on"):
            list(repair(folder))
        with pytest.raises(StudyOpen), access_alone(folder, "simulated"):
            pass
        assert "process" in read_standing(folder).owner
        finish(store, begun(store, 1))
    assert not database_of(folder, "simulated").drivers() and "1 trials that ended" in " ".join(repair(folder))


def test_two_drivers_search_together(tmp_path: Path, postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real driver and proposer over simulated jobs, both in this process."""
    monkeypatch.setattr(peers, "LOOK_S", 0.0)
    folder, problem, trials = tmp_path / "study", make_problem(), TRIALS
    problems: list[BaseException] = []

    def search(store: TrialStore, seed: int) -> None:
        try:
            driver = make_driver(
                make_problem(), SimulatedExecutor(problem), folder, max_trials=trials, store=store, seed=seed
            )
            driver.run(lambda: False, lambda snapshot: None)
        except BaseException as error:
            problems.append(error)

    with a_driver(folder, postgres.address) as one, a_driver(folder, "") as other:
        both = [threading.Thread(target=search, args=each) for each in ((one, 1), (other, 2))]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join(300)
    assert not problems
    check_shared(folder, 2 * trials)


def check_shared(folder: Path, trials: int) -> None:
    """None has a number or plan of another, and no number is left out."""
    numbers = sorted(int(path.parent.name) for path in (folder / "trials").glob("*/plan.json"))
    assert numbers == list(range(1, trials + 1))
    ended = read_trials(folder, "simulated")
    assert len({trial.number for trial in ended}) == len(ended)
    plans = Counter(trial.spec.key() for trial in ended if not trial.technique)
    assert max(plans.values()) == 1, plans.most_common(2)


@contextlib.contextmanager
def searching(folder: Path, address: str, trials: int, seed: int, pause_s: float) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(HELPERS / "shared_studies.py"), str(folder), address]
    environment = {**os.environ, "AUTOCOMPRESS_LEASE_S": "4", "PYTHONPATH": os.pathsep.join([str(HELPERS), *sys.path])}
    with subprocess.Popen(
        [*command, str(trials), str(seed), str(pause_s)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.slow
def test_trials_of_a_driver_that_was_killed_are_taken_over(tmp_path: Path, postgres: Postgres) -> None:
    folder, trials = tmp_path / "study", 20
    with searching(folder, postgres.address, 200, 1, 0.1) as killed:
        assert killed.stdout is not None and killed.stdout.readline() == "searching\n"
        with searching(folder, postgres.address, trials, 2, 0.08) as survivor:
            assert survivor.stdout is not None and survivor.stdout.readline() == "searching\n"
            time.sleep(3)
            killed.send_signal(signal.SIGKILL)
            assert survivor.stdout.readline().startswith("done") and survivor.wait(60) == 0
    numbers = sorted(int(path.parent.name) for path in (folder / "trials").glob("*/plan.json"))
    assert numbers == list(range(1, len(numbers) + 1)) and len(numbers) > trials
    with a_driver(folder, "") as store:
        assert store.interrupted() is not None
        whole = {t.number for t in (*store.ended(), *store.interrupted())}
    assert whole == set(numbers), "each ended or is gone on with"
    check_shared(folder, len(numbers))


@pytest.mark.slow
def test_two_searches_at_once_share_a_study(
    tmp_path: Path, tiny_task: Path, postgres: Postgres, cli: Callable[..., Said]
) -> None:
    (tmp_path / "digits.toml").write_text(STUDY.format(task=tiny_task))
    command = brief_command("search", "digits.toml", "--runs", "runs", "--trials", 4, "--storage", postgres.address)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    both = [
        subprocess.Popen([*command, "--seed", str(seed)], cwd=tmp_path, env=environment, **pipes)  # type: ignore[call-overload]
        for seed in (1, 2)
    ]
    said = [process.communicate(timeout=500)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], "\n".join(said)
    assert any("sharing this study with process" in text for text in said)
    folder = tmp_path / "runs" / "digits"
    check_shared(folder, 8)
    code, out, err = cli("front", folder)
    assert code == 0 and "teacher" in out, err
    assert not list(folder.glob("lock.json")) and not database_of(folder, "digits").drivers()
