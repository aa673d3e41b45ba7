"""The cores that a process may use: its mask and its container count, not the machine alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from autocompress.cores import usable_cores

MASK = len(os.sched_getaffinity(0))


def group(root: Path, path: str, files: dict[str, str]) -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


@pytest.mark.parametrize(
    ("groups", "process", "share"),
    [
        ({}, "", None),
        ({"": {"cpu.max": "max 100000\n"}}, "0::/\n", None),
        ({"": {"cpu.max": "100000 100000\n"}}, "0::/\n", 1),
        ({"": {"cpu.max": "150000 100000\n"}}, "0::/\n", 1),
        ({"": {"cpu.max": "50000 100000\n"}}, "0::/\n", 1),
        ({"a/b": {"cpu.max": "max 100000"}, "a": {"cpu.max": "100000 100000"}}, "0::/a/b\n", 1),
        ({"cpu": {"cpu.cfs_quota_us": "100000", "cpu.cfs_period_us": "100000"}}, "1:cpu:/\n0::/\n", 1),
        (
            {"cpu,cpuacct/x": {"cpu.cfs_quota_us": "100000", "cpu.cfs_period_us": "100000"}},
            "4:cpu,cpuacct:/x\n",
            1,
        ),
        ({"cpu": {"cpu.cfs_quota_us": "-1", "cpu.cfs_period_us": "100000"}}, "1:cpu:/\n", None),
        ({"": {"cpu.max": "nonsense"}}, "0::/\n", None),
        ({"": {"cpu.max": "100000 0"}}, "nonsense", None),
    ],
)
def test_a_share_of_a_container_counts(
    tmp_path: Path, groups: dict[str, dict[str, str]], process: str, share: int | None
) -> None:
    for path, files in groups.items():
        group(tmp_path / "cgroup", path, files)
    (tmp_path / "self").write_text(process)
    assert usable_cores(tmp_path / "cgroup", tmp_path / "self") == (share or MASK)


def test_a_mask_counts(tmp_path: Path) -> None:
    import subprocess
    import sys

    one = min(os.sched_getaffinity(0))
    code = f"import os\nos.sched_setaffinity(0, {{{one}}})\nfrom autocompress.cores import usable_cores\n"
    code += "print(usable_cores())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
