"""What commands print when nobody reads it any more."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

CODE = """
import click
from autocompress.cli import main
from autocompress.cli.progress import PlainProgress

def draw():
    progress = PlainProgress()
    for number in range(2000):
        progress.say(f"trial {number}" + "." * 100)
    click.echo("the front")

main.add_command(click.Command("draw", callback=draw))
main.main(["draw"])
"""


def test_a_search_whose_reader_has_gone_goes_on_and_shows_its_front() -> None:
    command = [sys.executable, "-c", CODE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        assert "trial 0" in process.stdout.readline()
        process.stdout.close()  # as `head -1` does
        said = process.stderr.read()
        assert process.wait() == 0
    assert "the front" in said and "Traceback" not in said
    assert said.count("trial") <= 2, "the lines of progress were for that reader"


def test_whoever_watches_ends_it_by_ctrl_c_at_any_moment(
    study: Path, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a large study takes longer than the pause between two looks."""

    def pressed(folder: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("autocompress.search.report.standing.read_standing", pressed)
    assert cli("status", study, "--watch") == (0, "", "")
    assert cli("status", study)[0] == 130


def test_the_front_is_shown_beside_its_picture(study: Path, cli: Callable[..., tuple[int, str, str]]) -> None:
    picture = study.parent / "front.svg"
    code, out, _ = cli("front", study, "--plot", picture)
    assert code == 0 and out == cli("front", study)[1] and picture.stat().st_size > 1000
    assert cli("front", study, "--plot", picture, "--json")[1].startswith("["), "a program gets its table alone"


def test_a_study_that_is_named_as_elsewhere_is_pointed_to(
    study: Path, cli: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`front simulated` finds it under runs/; `search` takes study files by name, and tells where that one is."""
    monkeypatch.chdir(study.parent.parent)
    assert cli("front", "simulated")[0] == 0
    code, _, err = cli("search", "simulated")
    assert code == 2 and "give runs/simulated" in err and len(err.splitlines()) == 1
    assert "unknown study" in cli("search", "another")[2]
