"""A search on a Ray cluster of two nodes on this machine, undisturbed, and with one node killed half way.

    python benchmarks/cluster_night.py cifar10_resnet20 --minutes 20 --runs runs/night

Each node has a core, and no folder is shared. In the second search a node is killed half way as a power loss would, and
a new one joins a minute later. Printed are, of both, the trials, the exit code and the front.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from networks import machine_line

from autocompress.search.report import table
from autocompress.search.report.reading import read_front

LATE_S = 60.0
"""Seconds after which a new node joins."""


def search(study: str, minutes: float, runs: Path, kill: bool) -> int:
    """Run one search, and return its exit code."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    first, _ = cluster.add_node(num_cpus=1), cluster.add_node(num_cpus=1)
    command = [sys.executable, "-m", "autocompress", "search", study, "--minutes", f"{minutes:g}", "--runs", str(runs)]
    command += ["--address", cluster.address, "--cpus-per-job", "1", "--fresh"]
    began_s = time.monotonic()
    try:
        with subprocess.Popen(command) as running:
            todo = [(60 * minutes / 2, lambda: cluster.remove_node(first, allow_graceful=False))]
            todo.append((60 * minutes / 2 + LATE_S, lambda: cluster.add_node(num_cpus=1)))
            while running.poll() is None:
                if kill and todo and time.monotonic() - began_s > todo[0][0]:
                    todo.pop(0)[1]()
                    print("a node was killed" if len(todo) == 1 else "a node joined", flush=True)
                time.sleep(1)
            return int(running.returncode)
    finally:
        cluster.shutdown()


def main() -> None:
    """Run both searches, and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="digits")
    parser.add_argument("--minutes", type=float, default=5.0, help="Of each search.")
    parser.add_argument("--runs", type=Path, default=Path("runs/night"), help="Where the two studies go.")
    options = parser.parse_args()
    print(machine_line(), flush=True)
    for name, kill in (("undisturbed", False), ("one node killed", True)):
        runs = options.runs / name.replace(" ", "-")
        code = search(options.study, options.minutes, runs, kill)
        (study,) = (path.parent for path in runs.glob("*/study.json"))
        front = read_front(study)
        counts = Counter(str(trial.state) for trial in front.trials)
        twice = len(front.trials) - len({trial.number for trial in front.trials})
        print(f"\n{name}: exit code {code}; {dict(counts)}; trials there twice: {twice}")
        for line in table.plain_lines(front):
            print(line)


if __name__ == "__main__":
    main()
