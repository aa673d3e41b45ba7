"""What the commands that write a page share: to show it, and to write it as a PDF or a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .paths import PATH

OPTIONS = (
    click.option("--open", "show", is_flag=True, help="Show it in the browser."),
    click.option("--pdf", type=PATH, help="Write it as a PDF too; needs Chromium."),
    click.option("--png", type=PATH, help="Write it as a picture too; needs Chromium."),
)


def page_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of a page."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command


def show_page(page: Path, show: bool, pdf: Path | None, png: Path | None) -> None:
    """Say where a page lies, and show or convert it.

    Args:
        page: The HTML file.
        show: Whether to open it in the browser.
        pdf: Where to write it as a PDF, None for not at all.
        png: Where to write it as a picture, None for not at all.

    Raises:
        RuntimeUnavailable: No Chromium is installed.
        StorageError: The disk is full or cannot be written.
    """
    from ..search.report.html.browser import write_pdf, write_png

    click.echo(f"report: {page}")
    if pdf is not None:
        write_pdf(page, pdf)
        click.echo(f"as a PDF: {pdf}")
    if png is not None:
        write_png(page, png)
        click.echo(f"as a picture: {png}")
    if show:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
