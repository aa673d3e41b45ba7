"""Found by every Python process of a search under test: notes which files were flushed, lets the clock jump."""

import os
import time

if _path := os.environ.get("FLUSHED_FILES"):
    _fsync = os.fsync

    def _noting(handle):
        """Flush, then note which file that was, and as what."""
        _fsync(handle)
        known = os.fstat(handle if isinstance(handle, int) else handle.fileno())
        note = os.open(_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(note, f"{known.st_ino} {known.st_size}\n".encode())
        os.close(note)

    os.fsync = _noting


if _dial := os.environ.get("CLOCK_DIAL"):
    _time, _time_ns = time.time, time.time_ns

    def _jumped():
        """Return the seconds by which the clock on the wall is off now."""
        try:
            with open(_dial) as file:  # noqa: PTH123 (pathlib is slow to import here)
                return int(file.read() or 0)
        except (OSError, ValueError):
            return 0

    time.time = lambda: _time() + _jumped()
    time.time_ns = lambda: _time_ns() + 10**9 * _jumped()
