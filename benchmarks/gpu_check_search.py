"""The part `search` of `gpu_check`: a short search on the GPU, by the command line alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

from gpu_check_measure import Part

GRACE_SECONDS = 20.0
"""What a search that was interrupted has to end by itself."""
LAST_LINES = 30


def search(part: Part) -> None:
    """Search the bundled study `digits` and tell how that ended; a search that takes too long is interrupted."""
    target = "torch_compile@cuda" if part.on_gpu else "pytorch"
    # minutes bound a search as a whole, and compiling alone takes two of them: it gets all that the part has
    minutes = (part.limit - 3 * GRACE_SECONDS) / 60
    words = ["autocompress", "search", "digits", "--target", target, "--minutes", f"{minutes:.3g}", "--quiet"]
    environment = {**os.environ, "AUTOCOMPRESS_CACHE": str(part.folder / "cache")}
    log = part.folder / "search.log"
    started = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *words, "--runs", "runs"],
            cwd=part.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            code = process.wait(max(1.0, part.limit - 2 * GRACE_SECONDS))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            try:
                code = process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            part.failed("search", "it was interrupted: it took longer than its minutes")
    lines = log.read_text(errors="replace").splitlines()
    part.row(command=f"`{' '.join(words)}`", exit_code=code, seconds=round(time.monotonic() - started))
    if code != 0:
        part.failed("search", f"exit code {code}: {lines[-1] if lines else 'it printed nothing'}")
    part.note("\n".join(["```text", *lines[-LAST_LINES:], "```"]))
