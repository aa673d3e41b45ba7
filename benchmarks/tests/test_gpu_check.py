"""The GPU check runs to its end where there is no GPU: the script is tried, its numbers mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "gpu_check.py"
sys.path.append(str(SCRIPT.parent))

from gpu_check_measure import Part, in_turns, median_interval  # noqa: E402


def check(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    command = [sys.executable, str(SCRIPT), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **environment})


def test_without_a_gpu_it_says_so_in_one_line() -> None:
    done = check(CUDA_VISIBLE_DEVICES="")
    assert done.returncode == 3, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert "no CUDA device" in done.stdout


@pytest.mark.slow
def test_parity_on_the_cpu_ends_well_and_prints_a_table(tmp_path: Path) -> None:
    report = tmp_path / "report.md"
    done = check("--device", "cpu", "--parts", "parity", "--seconds", "5", "--out", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| pytorch | bf16 |" in done.stdout
    assert "failed: none" in done.stdout
    assert report.read_text().startswith("# GPU check")


@pytest.mark.slow
def test_a_part_that_fails_is_told_and_the_others_run(tmp_path: Path) -> None:
    nothing = tmp_path / "none.th"
    done = check("--device", "cpu", "--parts", "training,sparsity,parity", "--seconds", "1", "--weights", str(nothing))
    assert done.returncode == 1, done.stderr
    assert "## training: failed" in done.stdout and "## parity: failed" in done.stdout
    assert "none.th" in done.stdout
    assert "Traceback" not in done.stdout


def test_an_unknown_part_is_refused() -> None:
    done = check("--parts", "nonsense")
    assert done.returncode == 2
    assert "known: training" in done.stderr


@pytest.mark.parametrize(("count", "low", "high"), [(5, 1, 5), (7, 1, 7), (9, 2, 8), (20, 6, 15)])
def test_an_interval_holds_the_median_with_95_percent(count: int, low: int, high: int) -> None:
    """Ranks of the sign test, from tables of the binomial distribution."""
    values = [float(i) for i in range(count, 0, -1)]
    assert median_interval(values)[1:] == (low, high)


def test_what_raises_is_told_and_the_others_go_on(tmp_path: Path) -> None:
    part = Part("cpu", 1.0, 1.0, 6, tmp_path, tmp_path / "rows.jsonl")
    given = in_turns(part, {"well": lambda: 1, "ill": lambda: 1 / 0})
    assert given == {"well": [1] * 6}
    assert [json.loads(line) for line in part.rows.read_text().splitlines()] == [
        {"failed": "ill: ZeroDivisionError: division by zero"}
    ]
