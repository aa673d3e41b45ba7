"""Drivers that share a study, one of which leaves while it is stuck in logging a trial: that is logged, and once."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from postgres import Postgres
from shared_studies import a_driver
from simulated_study import EXAMPLES, write_study
from synthetic_spaces import chain

from autocompress.search.followers.base import EndedTrial, FollowedStudy
from autocompress.search.followers.following import Followings
from autocompress.search.followers.telling import Telling
from autocompress.search.report.front import Front
from autocompress.search.store import leases
from autocompress.search.store.leases import Leases

pytestmark = pytest.mark.xdist_group("postgres")
PATIENCE_S = 60.0
SPACE = chain([32, 48] * 2 + [64, 10])


@dataclass
class Server:
    """What is logged, as a server has it: a trial is there once a request for it was answered.

    Attributes:
        trials: Numbers of the trials, each as often as it was logged.
        answers: Whether requests are answered.
        asked: Whether one came.
    """

    trials: Counter[int] = field(default_factory=Counter)
    answers: threading.Event = field(default_factory=threading.Event)
    asked: threading.Event = field(default_factory=threading.Event)


@dataclass
class Client:
    """Logs to that server, which may take its time for the requests of this one."""

    server: Server
    waits: bool = False
    where: str = "a server"

    def open(self, study: FollowedStudy) -> set[int]:
        return set(self.server.trials)

    def add(self, trial: EndedTrial) -> None:
        if self.waits:
            self.server.asked.set()
            assert self.server.answers.wait(PATIENCE_S)
        self.server.trials[trial.number] += 1

    def close(self) -> None:
        pass


@pytest.fixture
def front(tmp_path: Path) -> Front:
    return write_study(tmp_path / "runs" / "simulated", 6, layers=6)


@contextmanager
def stuck_while_it_leaves(front: Front, server: Server, own: Leases, said: list[str]) -> Iterator[Followings]:
    """The followers of a driver that has left its study to others, and is not through with the first trial."""
    telling = Telling(front.folder, front.limits, front.objectives, SPACE.variables, EXAMPLES)
    first = Followings([Client(server, waits=True)], telling, said.append, own.turns)
    first.look(front.trials[:2])
    assert server.asked.wait(PATIENCE_S)
    with first.held(0.1):
        assert not own.is_last()
    yield first
    server.answers.set()
    first.close(PATIENCE_S)


def others(front: Front, server: Server, own: Leases, said: list[str]) -> Followings:
    """The followers of the driver that goes on."""
    telling = Telling(front.folder, front.limits, front.objectives, SPACE.variables, EXAMPLES)
    found = Followings([Client(server)], telling, said.append, own.turns)
    found.look(front.trials)
    return found


def until(done: object, followings: Followings, front: Front) -> None:
    end_s = time.monotonic() + PATIENCE_S
    while not done():  # type: ignore[operator]
        assert time.monotonic() < end_s, "it never came"
        followings.look(front.trials)
        time.sleep(0.05)


def test_who_goes_on_waits_until_the_trial_is_there(front: Front, postgres: Postgres, tmp_path: Path) -> None:
    server, said, folder = Server(), list[str](), tmp_path / "study"
    with a_driver(folder, postgres.address) as one, a_driver(folder, "") as two:
        assert one.leases is not None and two.leases is not None
        with stuck_while_it_leaves(front, server, one.leases, said):
            second = others(front, server, two.leases, said)
            until(lambda: said, second, front)
            (line,) = said
            assert "ends, and still logs a trial to a server: waiting until it is through" in line
            time.sleep(1.5)
            assert not server.trials
        second.close(PATIENCE_S)
    assert server.trials == {trial.number: 1 for trial in front.trials}
    assert not any("not logged" in line for line in said), said


def test_what_cannot_be_waited_for_is_told_and_logged_by_the_next_run(
    front: Front, postgres: Postgres, tmp_path: Path
) -> None:
    server, said, folder = Server(), list[str](), tmp_path / "study"
    with a_driver(folder, postgres.address) as one, a_driver(folder, "") as two:
        assert one.leases is not None and two.leases is not None
        with stuck_while_it_leaves(front, server, one.leases, said):
            others(front, server, two.leases, said).close(1.5)
            assert said[-1] == "6 trials are not logged to a server; the next run of this study does so"
    with a_driver(folder, "") as three:
        assert three.leases is not None
        others(front, server, three.leases, said).close(PATIENCE_S)
    assert server.trials == {trial.number: 1 for trial in front.trials}


def test_what_a_driver_was_in_the_midst_of_that_died_is_logged_by_another(
    front: Front, postgres: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "DEAD_S", 1.5)
    monkeypatch.setattr(leases, "BEAT_S", 0.2)
    server, said, folder = Server(), list[str](), tmp_path / "study"
    with a_driver(folder, postgres.address) as one, a_driver(folder, "") as two:
        assert one.leases is not None and two.leases is not None
        leaving = stuck_while_it_leaves(front, server, one.leases, said)
        leaving.__enter__()
        second = others(front, server, two.leases, said)
        time.sleep(2.5)
        assert not server.trials, "it lives"
        one.leases.turns._leaves = False  # its process ends: it gives no more signs of life, and logs nothing
        until(lambda: len(server.trials) == len(front.trials), second, front)
        second.close(PATIENCE_S)
    assert server.trials == {trial.number: 1 for trial in front.trials}
