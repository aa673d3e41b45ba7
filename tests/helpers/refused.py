"""What a command says that refuses: one line, and exit code 2."""

from __future__ import annotations


def assert_refused(said: tuple[int, str, str], *parts: str) -> None:
    code, _, err = said
    lines = [line for line in err.strip().splitlines() if line.startswith("autocompress: ")]
    assert code == 2 and len(lines) == 1 and "Traceback" not in err, err
    for part in parts:
        assert part in lines[0], err
