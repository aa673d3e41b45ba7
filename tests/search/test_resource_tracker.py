"""The process that multiprocessing starts beside a program's own says nothing, and ends with the program."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from sessions import processes_of_session

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no resource tracker there")

KILLED = """
import multiprocessing, os, signal, sys
from autocompress.search.executors.resource_tracker import start_resource_tracker
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
LONGER = """
import atexit
if __name__ == "__main__":
    atexit.register(lambda: print("after", spawn.Lock() is not None))  # run after multiprocessing's own end
import multiprocessing
from multiprocessing import shared_memory
from autocompress.search.executors.resource_tracker import start_resource_tracker
spawn = multiprocessing.get_context("spawn")

def work(lock, answers):
    with lock:
        answers.put("work")

if __name__ == "__main__":
    theirs = spawn.Lock()
    start_resource_tracker()
    start_resource_tracker()
    answers, shared = spawn.Queue(), shared_memory.SharedMemory(create=True, size=8)
    process = spawn.Process(target=work, args=(theirs, answers))
    process.start()
    print(answers.get(), flush=True)
    process.join()
    shared.close()
    shared.unlink()
"""
HELD = """
import subprocess, sys
from multiprocessing import resource_tracker
from autocompress.search.executors.resource_tracker import start_resource_tracker
start_resource_tracker()
held = resource_tracker.getfd()
command = [sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(60)"]
pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
child = subprocess.Popen(command, pass_fds=[held], stdout=pipe, stderr=nothing, text=True)
child.stdout.readline()
print(child.pid)
"""


def ended(folder: Path, code: str) -> tuple[str, list[int]]:
    """Run a script in a session of its own; return what it said, and the processes that it has left."""
    script = folder / "program.py"
    script.write_text(code)
    pipe = subprocess.PIPE
    program = subprocess.Popen(
        [sys.executable, str(script)], stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert program.stdout is not None
    program.wait(60)
    left = processes_of_session(program.pid)
    return program.stdout.read().strip(), left


def test_a_worker_that_is_killed_leaves_no_words_about_semaphores_and_no_process(tmp_path: Path) -> None:
    assert ended(tmp_path, KILLED) == ("-9", [])


def test_a_longer_program_goes_on_with_its_own_processes_and_ends_all_of_them(tmp_path: Path) -> None:
    said, _ = ended(tmp_path, LONGER)
    assert said == "work\nafter True", "not a word of multiprocessing's"


def test_a_process_that_a_user_leaves_running_does_not_hold_a_program_up(tmp_path: Path) -> None:
    script, said, complained = tmp_path / "held.py", tmp_path / "said", tmp_path / "complained"
    script.write_text(HELD)
    begun = time.monotonic()
    with said.open("w") as out, complained.open("w") as err:
        subprocess.run([sys.executable, str(script)], stdout=out, stderr=err, timeout=60, check=True)
    took = time.monotonic() - begun
    psutil.Process(int(said.read_text())).kill()
    assert took < 30, "it does not wait for the minute of the other one"
    assert not complained.read_text()
