"""What libraries say that does not concern a user stays unsaid."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

KILLED = """
import multiprocessing, os, signal, sys
from autocompress.quieting import start_resource_tracker
spawn = multiprocessing.get_context("spawn")

def work():
    held = spawn.Lock()
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    before = list(sys.warnoptions)
    start_resource_tracker()
    assert sys.warnoptions == before
    process = spawn.Process(target=work)
    process.start()
    process.join()
    print(process.exitcode)
"""


def test_a_worker_that_is_killed_leaves_no_words_about_semaphores(tmp_path: Path) -> None:
    script = tmp_path / "killed.py"
    script.write_text(KILLED)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "-9" and done.stderr == ""
