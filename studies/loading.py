"""How a function of the user's is found: `path/to/file.py:function` or `module:function`."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from ..errors import AutoCompressError, StudyFileError, UnknownName


def load_function(spec: str, default: str, folder: Path | None = None) -> Callable[[], Any]:
    """The function that spec names, ready to be called without arguments.

    spec: `file.py`, `file.py:function` or `module:function`; a file without a function means `default`. A
    relative file is looked for in `folder` (default: the current one). Calling it turns whatever the user's
    code raises into one line. Raises StudyFileError when it is missing or cannot be imported, UnknownName when
    the module has no such function.
    """
    # From the right, because a path may start with a drive letter and a colon.
    source, _, name = (spec, "", default) if spec.endswith(".py") else spec.rpartition(":")
    if source.endswith(".py"):
        path = Path(source).expanduser()
        path = path if path.is_absolute() else (folder or Path.cwd()) / path
        if not path.is_file():
            raise StudyFileError(f"no file {source!r} (looked for {path}): give the path of a Python file")
        with _told_in_one_line(source, path), _importable(path.parent):
            module = _import_file(path)
    elif source and name:
        path = None
        with _told_in_one_line(source, path):
            module = importlib.import_module(source)
        path = Path(module.__file__) if module.__file__ else None
    else:
        raise StudyFileError(f"{spec!r} names no function: give 'path/to/file.py' or 'module:function'")
    function = getattr(module, name, None)
    if not callable(function):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UnknownName("function", name, known, f"{source} must define {name}().")

    def call() -> Any:
        with _told_in_one_line(f"{source}: {name}()", path), _importable(path.parent if path else None):
            return function()

    return call


def _import_file(path: Path) -> ModuleType:
    # Registered under a name of its own, so that classes defined in the file can be found again by name.
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    name = f"autocompress_user_{path.stem}_{digest}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _importable(folder: Path | None) -> Iterator[None]:
    # A script may import what lies beside it, as it could when run by Python itself.
    if folder is None or str(folder) in sys.path:
        yield
        return
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))


@contextmanager
def _told_in_one_line(what: str, path: Path | None) -> Iterator[None]:
    try:
        yield
    except AutoCompressError:
        raise
    except (Exception, SystemExit) as error:
        line = _line_of(error, path)
        message = (str(error).strip().splitlines() or [""])[0]
        raise StudyFileError(f"{what}: {line}{type(error).__name__}: {message}") from error


def _line_of(error: BaseException, path: Path | None) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: " if error.lineno else ""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if path and f.filename == str(path)]
    return f"line {lines[-1]}: " if lines else ""
