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

from ..errors import AutoCompressError, StudyFileError, UnknownName, one_line
from ..files import expanded

USERS = "autocompress_user_"
"""How the names of modules begin that a user's own files are imported as."""


def load_function(spec: str, default: str, folder: Path | None = None) -> Callable[[], Any]:
    """Find the function that `spec` names.

    Meanwhile, and while the function runs, modules that lie in `folder` or beside the function's own file can be
    imported by their names. Whatever the user's code raises is told in one line.

    Args:
        spec: `file.py`, `file.py:function` or `module:function`.
        default: Name of the function where `spec` is a file alone.
        folder: Where a relative file and modules are looked for, most often the study file's; the current folder if
            None.

    Returns:
        The function, to be called without arguments.

    Raises:
        StudyFileError: It is missing or cannot be imported; the returned function raises it too.
        UnknownName: The module has no such function.
    """
    folder = (folder or Path.cwd()).absolute()
    # From the right, because a path may start with a drive letter and a colon.
    source, _, name = (spec, "", default) if spec.endswith(".py") else spec.rpartition(":")
    if source.endswith(".py"):
        path: Path | None = folder / expanded(source)
        assert path is not None
        if not path.is_file():
            raise StudyFileError(f"no file {source!r} (looked for {path}): give the path of a Python file")
        with _told_in_one_line(source, path), _importable(path.parent, folder):
            module = _import_file(path)
    elif source and name:
        with _told_in_one_line(source, None), _importable(folder):
            module = _import_module(source, folder)
        file = getattr(module, "__file__", None)  # what is built into Python has none
        path = Path(file).absolute() if file else None
    else:
        raise StudyFileError(f"{spec!r} names no function: give 'path/to/file.py' or 'module:function'")
    function = getattr(module, name, None)
    if not callable(function):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UnknownName("function", name, known, f"{source} must define {name}().")

    def call() -> Any:
        with _told_in_one_line(f"{source}: {name}()", path), _importable(*([path.parent] if path else []), folder):
            return function()

    return call


def _import_file(path: Path) -> ModuleType:
    # Registered under a name of its own, so that classes defined in the file can be found again by name.
    digest = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]
    name = f"{USERS}{path.stem}_{digest}"
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


def _import_module(name: str, folder: Path) -> ModuleType:
    """Import a module by its name; one that lies in `folder` counts before one of that name from elsewhere."""
    top = name.partition(".")[0]
    beside = next((p for p in (folder / f"{top}.py", folder / top / "__init__.py") if p.is_file()), None)
    loaded = getattr(sys.modules.get(top), "__file__", None)
    if beside is not None and loaded is not None and not beside.samefile(loaded):
        # another study of this process has brought a module of this name from its own folder
        for old in [n for n in sys.modules if n == top or n.startswith(f"{top}.")]:
            del sys.modules[old]
    importlib.invalidate_caches()
    return importlib.import_module(name)


@contextmanager
def _importable(*folders: Path) -> Iterator[None]:
    # A script may import what lies beside it, as it could when run by Python itself.
    added = [str(folder) for folder in dict.fromkeys(folders) if str(folder) not in sys.path]
    sys.path[:0] = added
    try:
        yield
    finally:
        for folder in added:
            if folder in sys.path:
                sys.path.remove(folder)


@contextmanager
def _told_in_one_line(what: str, path: Path | None) -> Iterator[None]:
    try:
        yield
    except AutoCompressError:
        raise
    except (Exception, SystemExit) as error:
        raise StudyFileError(f"{what}: {_line_of(error, path)}{type(error).__name__}: {one_line(error)}") from error


def _line_of(error: BaseException, path: Path | None) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: " if error.lineno else ""
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if path and f.filename == str(path)]
    return f"line {lines[-1]}: " if lines else ""
