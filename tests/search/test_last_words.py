"""A search that Ray ends on the spot says how to go on."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import os
from autocompress.search.executors.last_words import LastWords
words = LastWords("autocompress: go on")
{end}
"""


@pytest.mark.parametrize(
    ("end", "said"),
    [
        ("os._exit(1)", "autocompress: go on\n"),
        ("os.kill(os.getpid(), 9)", "autocompress: go on\n"),
        ("words.close()", ""),
        ("words.close(); os._exit(1)", ""),
    ],
)
def test_they_are_said_where_a_process_ends_before_its_time(end: str, said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(end=end)], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.stderr == said
