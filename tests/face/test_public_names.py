"""The names that users import from the package: errors, what is public, and what importing costs."""

from __future__ import annotations

import inspect
import pickle
import subprocess
import sys
import textwrap

import pytest

import autocompress
from autocompress import errors


def public_errors() -> dict[str, type[Exception]]:
    return {
        name: value
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, errors.AutoCompressError)
    }


@pytest.mark.parametrize("name", public_errors())
def test_every_error_that_a_user_meets_is_imported_from_the_package(name: str) -> None:
    assert getattr(autocompress, name) is public_errors()[name]
    assert name in autocompress.__all__ and name in dir(autocompress)


def test_every_public_name_is_there() -> None:
    for name in autocompress.__all__:
        assert getattr(autocompress, name) is not None
    assert autocompress.__version__
    with pytest.raises(AttributeError, match="serch"):
        autocompress.serch  # noqa: B018
    assert not hasattr(autocompress, "search") or inspect.ismodule(autocompress.search)


@pytest.mark.parametrize("error", [*public_errors().values(), errors.TrialFailed])
def test_errors_travel_between_processes(error: type[Exception]) -> None:
    made = error("axis", "widht", ["width"], "Install it.") if error is errors.UnknownName else error("what was wrong")
    again = pickle.loads(pickle.dumps(made))
    assert type(again) is error and str(again) == str(made)


def test_an_unknown_name_names_the_nearest_after_its_travels_too() -> None:
    again = pickle.loads(pickle.dumps(errors.UnknownName("axis", "widht", iter(["width", "bits"]))))
    assert str(again) == "unknown axis 'widht'; did you mean 'width'? Known: bits, width."
    assert isinstance(pickle.loads(pickle.dumps(again)), errors.UsageError)


def test_importing_the_package_costs_no_heavy_import() -> None:
    code = textwrap.dedent("""
        import sys, autocompress, autocompress.testing
        print([n for n in ("torch", "pandas", "optuna", "onnxruntime", "pytest") if n in sys.modules])
    """)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
