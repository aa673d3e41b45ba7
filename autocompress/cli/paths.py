"""Names of files and folders, as users give them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from ..files import expanded

LONGEST = 255
"""Bytes of one part of a path, on the file systems that there are."""


class GivenPath(click.ParamType[Path]):
    """A path that could be one: not empty, and of parts that a file system takes."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path; fail in one line where it cannot be one."""
        text = os.fspath(value)
        if not text.strip():
            self.fail("it is empty; give the name of a file or folder", param, ctx)
        if "\0" in text:
            self.fail("it holds a character of number 0, which no name can", param, ctx)
        path = expanded(text)  # shells leave ~ in --out=~/models as it is
        longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
        if longest > LONGEST:
            self.fail(f"a part of it has {longest} bytes; allowed: up to {LONGEST}", param, ctx)
        return path


class GivenStudy(click.ParamType[str]):
    """A study: a path that could be one, or a name."""

    name = "study"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text; fail in one line where it cannot be a path."""
        return str(value) if not str(value).strip() else str(GivenPath().convert(value, param, ctx))


PATH, STUDY = GivenPath(), GivenStudy()
