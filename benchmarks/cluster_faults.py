"""What faults of a Ray cluster do to a search: nodes die at every step, come late, or are of another kind.

    python benchmarks/cluster_faults.py [--only gate training build timing confirming all-but-one late unlike small driver head]

Each fault has a search of its own over a tiny task, with real measurements, on a cluster of nodes of one core on this
machine. No folder is shared, and workers run in another folder than the driver. Lost and wrong are as in `faults.py`;
besides, a search that does not end by itself with exit code 0 is wrong. Takes about twenty minutes on two cores.
"""  # noqa: E501

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from fault_injection.nodes import SMALL_STORE_BYTES, Nodes, at, doing, driver_killed, head_killed, times_on
from fault_injection.table import Row, table
from networks import machine_line

BROKEN = "raise ImportError('another installation')"
"""A package that cannot be imported, in the way of the real one."""


def say(line: str) -> None:
    """Print a line with the time."""
    print(f"[{time.strftime('%H:%M:%S')}] {line}", flush=True)


def in_step(words: str) -> Callable[..., bool]:
    """Return what tells that a job does this."""
    return lambda nodes, arena, run: doing(arena.study, words)


def kill_first(nodes: Nodes) -> None:
    """Kill a node that trains."""
    nodes.kill(nodes.trainers[0])


def unlike(folder: Path, nodes: Nodes) -> None:
    """Add a node on which the study cannot be opened."""
    package = folder / "broken" / "autocompress"
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text(BROKEN)
    nodes.add(env_vars={"PYTHONPATH": str(package.parent)})


def faults(folder: Path) -> dict[str, Callable[[], Row]]:
    """Return what can be made to happen, by name."""
    one = partial(at, folder, say=say)
    return {
        "gate": partial(one, "a node killed in a gate", trainers=2, targets=0, when=in_step("shape"), hurt=kill_first),
        "training": partial(
            one, "a node killed in a training", trainers=2, targets=0, when=in_step("training"), hurt=kill_first
        ),
        "build": partial(one, "a node killed in a build", trainers=2, targets=0, when=in_step("file"), hurt=kill_first),
        "timing": partial(
            one, "a node killed while it times", trainers=1, targets=2,
            when=lambda nodes, arena, run: bool(run.reported()) and times_on(nodes.targets[1]),
            hurt=lambda nodes: nodes.kill(nodes.targets[1]),
        ),
        "confirming": partial(
            one, "a node killed while models are confirmed", trainers=2, targets=0,
            when=lambda nodes, arena, run: any("confirming" in line for line in run.said), hurt=kill_first,
        ),
        "all-but-one": partial(
            one, "all nodes but one killed", trainers=3, targets=0, when=in_step("training"),
            hurt=lambda nodes: [nodes.kill(node) for node in nodes.trainers[1:]],
        ),
        "late": partial(
            one, "no node at first, one added late", trainers=0, targets=0,
            when=lambda nodes, arena, run: any("waiting for one" in line for line in run.said),
            hurt=lambda nodes: nodes.add(),
        ),
        "unlike": partial(
            one, "a node on which the study cannot be opened", trainers=1, targets=0, when=in_step("training"),
            hurt=partial(unlike, folder),
        ),
        "small": partial(
            one, "small object stores", trainers=2, targets=0, when=in_step("training"), hurt=kill_first,
            object_store_memory=SMALL_STORE_BYTES,
        ),
        "driver": partial(driver_killed, folder, say),
        "head": partial(head_killed, folder, say),
    }  # fmt: skip


def main() -> None:
    """Make faults happen, and print what they did."""
    names = list(faults(Path()))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--folder", type=Path, help="Where the studies lie; a temporary folder if not given.")
    options = parser.parse_args()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="cluster-faults-"))).resolve()
    print(machine_line(), flush=True)
    known = faults(folder)
    rows = [known[name]() for name in options.only]
    print(table(rows))
    print("\n".join(line for row in rows for line in row.lines()))
    if options.folder is None:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(int(any(row.lost or row.wrong for row in rows)))


if __name__ == "__main__":
    main()
