"""From values to one HTML file: templates, styles and scripts in one text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

HERE = Path(__file__).parent
SCRIPTS = ("core", "format", "chart", "front", "pins", "table", "layers", "progress", "parallel", "start")
"""In the order in which they stand in the page."""


def render(template: str, values: dict[str, Any], data: dict[str, Any]) -> str:
    """Return a page.

    Args:
        template: Name of a file in `templates`.
        values: What the template shows. All text in it is escaped.
        data: What the script of the page reads.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template(template)
    return page.render(**values, data=_for_script(data), style=_static("report.css"), script=_script())


def _for_script(data: dict[str, Any]) -> Markup:
    """Return JSON that may stand inside of an element `script`, whatever its texts hold."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _static(name: str) -> Markup:
    return Markup((HERE / "static" / name).read_text(encoding="utf-8"))


def _script() -> Markup:
    return Markup("\n".join(_static(f"{name}.js") for name in SCRIPTS))
