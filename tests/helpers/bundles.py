"""What tests of bundles share: running their scripts, and the answers that they are to give."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np

HERE = "onnxruntime"


def run(*command: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=cwd, timeout=600, check=False)


def expected_classes(folder: Path) -> tuple[Any, list[int]]:
    with np.load(folder / "samples.npz") as kept:
        return kept["input:input"], kept[f"answer:{HERE}"].argmax(1).tolist()
