"""The plug-ins under examples/ are packages of their own: they are installed, found, and pass their suites."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from brief import brief_command

EXAMPLES = Path(__file__).parents[2] / "examples"
PACKAGES = ("numpy_runtime", "threads_executor", "activations_axis")
LINES = {"numpy_runtime": 90, "threads_executor": 60, "activations_axis": 60}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Install all three into a folder, as pip does; returns the environment that finds them."""
    folder = tmp_path_factory.mktemp("site")
    sources = [str(EXAMPLES / name) for name in PACKAGES]
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", str(folder)]
    done = subprocess.run([sys.executable, "-m", "pip", "install", *options, *sources], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.mark.parametrize("name", PACKAGES)
def test_an_example_is_as_small_as_it_is_said_to_be(name: str) -> None:
    (source,) = (EXAMPLES / name).glob("autocompress_*.py")
    assert len(source.read_text(encoding="utf-8").splitlines()) < LINES[name]


@pytest.mark.slow
def test_every_example_passes_its_suite(installed: dict[str, str], tmp_path: Path) -> None:
    """All in one process: what they import is imported once."""
    alone = ["-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", str(tmp_path)]
    command = [sys.executable, "-m", "pytest", "-q", "-rp", *alone, *(str(EXAMPLES / name) for name in PACKAGES)]
    done = subprocess.run(command, capture_output=True, text=True, env=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    for name in PACKAGES:
        assert re.search(rf"^PASSED .*/test_{name}\.py::", done.stdout, re.MULTILINE), done.stdout


SEARCH = """
import torch
from torch import nn
from torch.utils.data import TensorDataset
import autocompress

torch.manual_seed(0)
network = nn.Sequential(
    nn.Conv2d(1, 16, 3, padding=1),
    nn.SiLU(),
    nn.Conv2d(16, 16, 3, stride=2),
    nn.SiLU(),
    nn.Flatten(),
    nn.Linear(144, 4),
).eval()
images = torch.randn(192, 1, 8, 8)
parts = [TensorDataset(x, network(x).argmax(1).detach()) for x in images.split(64)]
front = autocompress.compress(
    autocompress.Task(network, *parts[:3], name="silu"), trials=6, epochs=1.0, axes=["activations"], progress="lines",
    target={"profile_seconds": 0.0, "learn_seconds": 0.0, "precision": 0.5},
    search={"without": ["latency_model", "sensitivity"]},
)
changed = [t for t in front.trials if t.spec.replacements]
assert changed, [t.plan.choices for t in front.trials]
assert all(t.finished for t in front.trials), [(t.label, t.reason) for t in front.trials]
print("replaced in", len(changed), "of", len(front.trials), "trials")
"""


@pytest.mark.slow
def test_a_search_decides_about_activations(installed: dict[str, str], tmp_path: Path) -> None:
    """An axis of another package is searched, built, timed and scored like any other."""
    script = tmp_path / "search.py"
    script.write_text(SEARCH)
    done = subprocess.run(brief_command(script), capture_output=True, text=True, env=installed, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "replaced in" in done.stdout
