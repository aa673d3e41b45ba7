"""A report as a PDF or a picture, drawn by a Chromium that is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from ....errors import RuntimeUnavailable, one_line
from ....files import write_bytes

NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome", "microsoft-edge")
ON_MAC = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
WIDTH = 1200
"""Of a picture, in pixels."""
LIMIT_S = 120.0


def find_chromium() -> Path | None:
    """Return an installed Chromium or Chrome, None where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is not None:
        return Path(found)
    return ON_MAC if ON_MAC.exists() else None


def write_pdf(page: Path, path: Path) -> None:
    """Write a report as a PDF.

    Args:
        page: The HTML file.
        path: The PDF.

    Raises:
        RuntimeUnavailable: No Chromium is installed, or it does not work here.
        StorageError: The disk is full or cannot be written.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "report.pdf"
        _run(page, folder, f"--print-to-pdf={made}", "--no-pdf-header-footer")
        write_bytes(path, _made(made))


def write_png(page: Path, path: Path) -> None:
    """Write a report as a picture of the whole page; see `write_pdf`."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "report.png"
        told = _run(page, folder, "--dump-dom", f"--window-size={WIDTH},900")
        height = re.search(r'data-height="(\d+)"', told)
        size = f"--window-size={WIDTH},{int(height[1]) if height else 6000}"
        _run(page, folder, f"--screenshot={made}", size, "--hide-scrollbars")
        write_bytes(path, _made(made))


def _run(page: Path, folder: str, *arguments: str) -> str:
    program = find_chromium()
    if program is None:
        raise RuntimeUnavailable(
            "no Chromium or Chrome is installed here; install one (Debian: apt-get install chromium), or open the "
            "report in a browser and print it"
        )
    command = [
        str(program), "--headless=new", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        f"--user-data-dir={folder}/profile", "--virtual-time-budget=4000", "--run-all-compositor-stages-before-draw",
        *(["--no-sandbox"] if sys.platform != "win32" and os.geteuid() == 0 else []),
        *arguments, page.resolve().as_uri(),
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RuntimeUnavailable(f"{program} does not work here ({one_line(error)}); try another browser") from None
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise RuntimeUnavailable(
            f"{program} ended with code {done.returncode} ({lines[-1][:200]}); try another browser"
        )
    return done.stdout


def _made(path: Path) -> bytes:
    if not path.exists():
        raise RuntimeUnavailable("Chromium wrote nothing; open the report in a browser and print it")
    return path.read_bytes()
