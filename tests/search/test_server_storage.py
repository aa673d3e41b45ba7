"""A study whose rows a PostgreSQL server keeps: where it is noted, what is never written, and a server that is away."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy
from postgres import Postgres, postgres_server
from shared_studies import STUDY, a_driver
from simulated_study import write_study
from simulation import SimulatedExecutor, make_driver, make_problem
from stored_trials import a_store, a_trial, end

from autocompress.errors import StorageError, UsageError
from autocompress.search.repair import repair
from autocompress.search.store.database import database_for_search, database_of, read_trials
from autocompress.search.store.lease_tables import TRIALS
from autocompress.search.store.place import check_address, passwords, read_place, without_password
from autocompress.search.store.server import Server
from autocompress.search.store.settings import write_settings
from autocompress.search.trial import TrialState
from autocompress.studies.study_file import StudyFile

Said = tuple[int, str, str]
pytestmark = pytest.mark.xdist_group("postgres")
PASSWORD = "do%20not%2Dtell"


def with_password(server: Postgres) -> str:
    return server.address.replace("tests@", f"tests:{PASSWORD}@")


@pytest.mark.parametrize("address, kept, secret", [
    ("postgresql+psycopg://me:p%40ss@host:5433/db", "postgresql+psycopg://me@host:5433/db", ["p@ss"]),
    ("postgresql+psycopg://me:a/b?c@host/db", "postgresql+psycopg://me@host/db", ["a/b?c"]),
    ("postgresql+psycopg:///db?host=/run&password=x", "postgresql+psycopg:///db?host=%2Frun", ["x"]),
    ("postgresql+psycopg://host/db", "postgresql+psycopg://host/db", []),
])  # fmt: skip
def test_an_address_is_kept_without_its_password(address: str, kept: str, secret: list[str]) -> None:
    assert without_password(address) == kept and passwords(address) == secret


@pytest.mark.parametrize("address, said", [
    ("geheim", "no address"),
    ("postgresql+psycopg://me:geheim@x@host/db", "%40"),
    ("postgresql+psycopg://me:geheim@host:port/db", "no address"),
    ("sqlite:///geheim.db", "without this option"),
    ("cassandra://me:geheim@host/db", "no kind of database"),
])  # fmt: skip
def test_what_is_no_address_is_told_without_repeating_it(address: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        check_address(address)
    assert "geheim" not in str(caught.value) and "\n" not in str(caught.value)


def test_settings_that_are_written_or_shown_have_no_address() -> None:
    settings = StudyFile().changed("search", storage="postgresql+psycopg://me:geheim@host/db")
    settings = settings.changed("search", trials=3)
    assert settings.search.storage.endswith("me:geheim@host/db"), "whoever opens the study has it"
    for text in (settings.model_dump_json(), settings.search.model_dump_json(), repr(settings), str(settings)):
        assert "geheim" not in text and "host/db" not in text


@pytest.fixture
def study(tmp_path: Path, postgres: Postgres) -> Path:
    """A study of eight trials whose rows are on a server."""
    folder = tmp_path / "runs" / "simulated"
    folder.mkdir(parents=True)
    database_for_search(folder, "simulated", with_password(postgres))
    write_study(folder, 8)
    return folder


def test_reading_commands_find_the_rows_by_the_folders_note(study: Path, cli: Callable[..., Said]) -> None:
    assert not (study / "study.db").exists()
    for command in ("front", "status", "report", "repair", "clean"):
        code, out, err = cli(command, study)
        assert code == 0, (command, out, err)
    code, out, _ = cli("status", study, "--json")
    assert code == 0 and '"finished"' in out


def test_studies_of_one_name_do_not_collide(tmp_path: Path, postgres: Postgres) -> None:
    for name in ("one", "two"):
        folder = tmp_path / name / "digits"
        folder.mkdir(parents=True)
        database_for_search(folder, "digits", postgres.address)
        store = a_store(folder)
        end(store, a_trial(1 if name == "one" else 2))
        store.close()
    found = {name: [t.number for t in read_trials(tmp_path / name / "digits", "digits")] for name in ("one", "two")}
    assert found == {"one": [1], "two": [2]}
    place = read_place(tmp_path / "one" / "digits")
    assert place is not None and place.study.startswith("digits-")


def test_a_study_stays_where_it_was_begun(tmp_path: Path, postgres: Postgres, study: Path) -> None:
    a_store(tmp_path).close()
    with pytest.raises(StorageError, match=r"begun with its trials in study\.db"):
        database_for_search(tmp_path, "study", postgres.address)
    elsewhere = postgres.address.replace("/postgres?", "/template1?")
    with pytest.raises(StorageError, match="copy the database there first"):
        database_for_search(study, "simulated", elsewhere)
    assert database_for_search(study, "simulated", "").is_there()


def test_no_password_is_written_or_told(study: Path, postgres: Postgres, cli: Callable[..., Said]) -> None:
    for path in study.rglob("*"):
        assert not path.is_file() or not any(s in path.read_bytes() for s in (b"do not-tell", PASSWORD.encode())), path
    place = read_place(study)
    assert place is not None
    server = Server(study, place, with_password(postgres))
    said = server.reason(RuntimeError("refused do not-tell"))
    assert "tell" not in said and "***" in said


@contextlib.contextmanager
def own_server(folder: Path, study: Callable[[Path], object]) -> Iterator[tuple[Postgres, Path]]:
    with postgres_server() as server:
        folder.mkdir(parents=True)
        database_for_search(folder, "simulated", server.address)
        study(folder)
        yield server, folder


def test_a_server_that_is_away_costs_readers_one_line(tmp_path: Path, cli: Callable[..., Said]) -> None:
    with own_server(tmp_path / "runs" / "simulated", lambda folder: write_study(folder, 8)) as (server, folder):
        assert cli("front", folder)[0] == 0
        server.end()
        for command in ("front", "status", "repair", "clean"):
            code, _, err = cli(command, folder)
            assert code == 2 and "cannot be reached" in err and len(err.strip().splitlines()) <= 2, (command, err)
        server.begin()
        assert cli("front", folder)[0] == 0


def test_a_running_search_waits_for_its_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with own_server(tmp_path / "study", lambda folder: None) as (server, folder):
        store = a_store(folder)
        end(store, a_trial(1))
        server.end()
        threading.Thread(target=lambda: (time.sleep(1.5), server.begin())).start()
        end(store, a_trial(2))
        assert not store._unwritten, "it waited, and wrote the row"
        monkeypatch.setattr("autocompress.search.store.patience.PATIENCE_S", 0.5)
        server.end()
        for number in (3, 4):
            end(store, a_trial(number))
        assert len(store._unwritten) == 2
        server.begin()
        end(store, a_trial(5))
        store.close()
        assert [t.number for t in read_trials(folder, "study")] == [1, 2, 3, 4, 5]
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "waited for since" in said and "kept in their own files" in said


def test_a_search_that_waits_for_its_server_ends_when_it_is_asked_to(tmp_path: Path) -> None:
    stop = threading.Event()
    with postgres_server() as server, a_driver(tmp_path / "study", server.address, stop=stop.is_set) as store:
        problem = make_problem()
        driver = make_driver(problem, SimulatedExecutor(problem), tmp_path / "study", max_trials=9, store=store)
        server.end()
        asked = threading.Timer(1.0, stop.set)
        begun_s = time.monotonic()
        asked.start()
        driver.run(stop.is_set, lambda snapshot: None)
        assert stop.is_set() and time.monotonic() - begun_s < 20 and not driver.trials
        assert not list((tmp_path / "study").glob("trials/*")), "nothing has begun"


def test_what_a_repair_wrote_counts_as_ended_to_the_drivers_of_later(tmp_path: Path, postgres: Postgres) -> None:
    folder = tmp_path / "study"
    with a_driver(folder, postgres.address) as store:
        trial = store.claim(lambda number: a_trial(number, TrialState.RUNNING))
        assert trial is not None
        store.begin(a_trial(trial.number))  # it ended, and its driver died before it had its row
    assert unended(folder) == [1]
    write_settings(folder, StudyFile(name="simulated"))
    assert "1 trials that ended" in " ".join(repair(folder))
    assert unended(folder) == [] and [t.number for t in read_trials(folder, "simulated")] == [1]


def unended(folder: Path) -> list[int]:
    """Numbers of the trials that have not ended as drivers know it."""
    engine, study = database_of(folder, "simulated").open(("maximize", "minimize"))
    with engine.connect() as connection:
        asked = sqlalchemy.select(TRIALS.c.number).where(TRIALS.c.study_id == study, ~TRIALS.c.ended)
        return list(connection.execute(asked).scalars())


@pytest.mark.slow
@pytest.mark.usefixtures("briefly")
def test_a_search_keeps_its_trials_on_a_server(
    tmp_path: Path, tiny_task: Path, postgres: Postgres, cli: Callable[..., Said]
) -> None:
    runs, file = tmp_path / "runs", tmp_path / "digits.toml"
    file.write_text(STUDY.format(task=tiny_task))
    given = ("search", file, "--runs", runs, "--trials", 2, "--budget-ms", 50)
    code, out, err = cli(*given, "--storage", with_password(postgres))
    assert code == 0, err
    folder = runs / "digits"
    assert not (folder / "study.db").exists() and len(read_trials(folder, "digits")) == 2
    assert "tell" not in out + err
    for path in folder.rglob("*"):
        assert not path.is_file() or PASSWORD.encode() not in path.read_bytes(), path
    code, out, err = cli(*given)  # it goes on where its folder says
    assert code == 0 and len(read_trials(folder, "digits")) == 4, err
    shutil.rmtree(folder)
