"""The templates of a bundle's texts, filled in with values that cannot break out of their place."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2

_MARKDOWN = re.compile(r"([\\`*_\[\]|#~$])")


class Ready(str):
    """A text that is put in as it is."""

    __slots__ = ()


def filled(name: str, /, **values: Any) -> str:
    """Return a template with values in it. Texts are escaped for Markdown, unless they are `Ready`.

    Args:
        name: Of a file in `templates/`.
        **values: What it asks for.
    """
    return _environment().get_template(name).render(**values)


def markdown(value: object) -> str:
    """Return a text so that Markdown and HTML show it as it is, in one line."""
    if isinstance(value, Ready):
        return value
    line = " ".join(str(value).split())
    shown = "".join(c for c in line if unicodedata.category(c) != "Cc")
    escaped = shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", escaped)


def quoted(value: object) -> Ready:
    """Return a text as a double-quoted scalar of YAML 1.2, which is a basic string of TOML 1.0 too."""
    return Ready('"' + "".join(_escaped(c) for c in str(value)) + '"')


def code(value: object) -> Ready:
    """Return a text as a code span of Markdown, whatever backticks and line breaks it has."""
    line = " ".join(str(value).split()).replace("|", "\\|") or " "
    longest = max((len(run) for run in re.findall("`+", line)), default=0)
    fence = "`" * (longest + 1)
    space = " " if line.startswith("`") or line.endswith("`") else ""
    return Ready(f"{fence}{space}{line}{space}{fence}")


def _escaped(character: str) -> str:
    if character in ('"', "\\"):
        return "\\" + character
    number = ord(character)
    plain = character.isprintable() and not 0xD800 <= number < 0xE000 and number != 0xFEFF
    if plain:
        return character
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


@functools.cache
def _environment() -> jinja2.Environment:
    import jinja2

    filters: dict[str, Callable[..., Any]] = {"quoted": quoted, "code": code}
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("autocompress.search.bundle", "templates"),
        undefined=jinja2.StrictUndefined,
        finalize=markdown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    made.filters.update(filters)
    return made
