"""Paths on the command line."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from autocompress.cli.paths import PATH, STUDY
from autocompress.errors import UsageError


def test_a_home_is_one_however_a_shell_hands_it_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Shells leave it as it is in `--out=~/models`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    assert PATH.convert("~/models", None, None) == tmp_path / "models"
    assert STUDY.convert("~/runs/digits", None, None) == str(tmp_path / "runs" / "digits")


def test_the_home_of_nobody_is_told_in_a_line() -> None:
    with pytest.raises((click.BadParameter, UsageError), match="nobody-of-this-name"):
        PATH.convert("~nobody-of-this-name/models", None, None)
