"""Faults of a Ray cluster: nodes that die at a moment of their own, come late, or are of another kind."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil

from .arena import Arena, Run
from .disk import _read, _without
from .ledger import Ledger
from .table import Row

TARGET = "autocompress_target"
TRIALS = 8
"""Of each search."""
LONG_S = 420.0
"""Seconds after which a search that has not ended is said to hang."""
SMALL_STORE_BYTES = 80 * 2**20
"""Least that Ray allows is 75 MiB."""
Say = Callable[[str], None]


@dataclass
class Nodes:
    """A cluster on this machine whose head does no jobs.

    Attributes:
        cluster: Ray's own.
        trainers: Nodes of one core.
        targets: Nodes that time files.
    """

    cluster: Any
    trainers: list[Any] = field(default_factory=list)
    targets: list[Any] = field(default_factory=list)

    @classmethod
    @contextlib.contextmanager
    def of(cls, trainers: int, targets: int = 0, **node: Any) -> Iterator[Nodes]:
        """Give a cluster with so many nodes of each kind, and end it."""
        from ray.cluster_utils import Cluster

        found = cls(Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **node}))
        try:
            found.trainers = [found.add(**node) for _ in range(trainers)]
            found.targets = [found.add(resources={TARGET: 1}, **node) for _ in range(targets)]
            yield found
        finally:
            found.cluster.shutdown()

    def add(self, **node: Any) -> Any:
        """Add a node."""
        return self.cluster.add_node(num_cpus=1, **node)

    def kill(self, node: Any) -> None:
        """End a node as a power cut does."""
        self.cluster.remove_node(node, allow_graceful=False)

    @property
    def words(self) -> tuple[str, ...]:
        """What a search is told to use it."""
        return "--executor", "ray", "--address", str(self.cluster.address), "--cpus-per-job", "1"


def doing(study: Path, words: str) -> bool:
    """Tell whether the search has noted just now that a job does this."""
    with contextlib.suppress(OSError, ValueError):
        known = json.loads((study / "status.json").read_text())
        return time.time() - known["at_s"] < 1.0 and any(words in each for each in known["doing"])
    return False


def times_on(node: Any) -> bool:
    """Tell whether a file is being timed on a node."""
    with contextlib.suppress(psutil.Error, KeyError, IndexError):
        raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
        return any("timing.child" in " ".join(child.cmdline()) for child in raylet.children(recursive=True))
    return False


def ended(arena: Arena, run: Run, row: Row, ledger: Ledger) -> None:
    """Take in how a search ended: by itself, with exit code 0, and every trial there once."""
    code = run.wait_for_end(LONG_S)
    row.ended.append("hangs" if code is None else f"exit code {code}")
    if code != 0:
        row.wrong.append(f"ended with {code} ({_without(arena.folder, run.complaint)})")
        run.kill()
    _read(ledger, [run], row)
    ledger.check_files()
    row.wrong += [words for words in ledger.wrong if words not in row.wrong]
    if len(ledger.finished) < 2:
        row.wrong.append(f"{len(ledger.finished)} trials finished")


def at(
    folder: Path, fault: str, say: Say, trainers: int, targets: int, when: Callable[[Nodes, Arena, Run], bool],
    hurt: Callable[[Nodes], None], **node: Any,
) -> Row:  # fmt: skip
    """Hurt a cluster at one moment of a search.

    Args:
        folder: For the study.
        fault: Its name.
        say: Takes a line.
        trainers: Nodes that train.
        targets: Nodes that time.
        when: Tells whether the moment has come.
        hurt: Does it.
        **node: What nodes are started with.
    """
    row = Row(fault)
    arena = Arena.make(folder / "".join(c if c.isalnum() else "-" for c in fault))
    with Nodes.of(trainers, targets, **node) as nodes:
        run = replace(arena, executor=nodes.words).start(TRIALS)
        if run.wait(lambda: when(nodes, arena, run), LONG_S):
            row.times += 1
            hurt(nodes)
        ended(arena, run, row, Ledger(arena.study))
        if not row.times:
            row.left_out = "the moment never came"
    say(f"{fault}: {row.times} times, {len(row.lost)} lost, {len(row.wrong)} wrong; {', '.join(row.ended)}")
    return row


def driver_killed(folder: Path, say: Say) -> Row:
    """Kill the driver alone while its workers train, and run the same command again."""
    row = Row("the driver killed, and started again")
    arena = Arena.make(folder / "driver")
    with Nodes.of(2) as nodes:
        there = replace(arena, executor=nodes.words)
        run, ledger = there.start(TRIALS), Ledger(arena.study)
        run.wait(lambda: doing(arena.study, "training"), LONG_S)
        row.times += 1
        run.process.send_signal(signal.SIGKILL)
        run.wait_for_end()
        _read(ledger, [run], row)
        ended(arena, there.start(TRIALS), row, ledger)
    say(f"{row.fault}: {len(row.lost)} lost, {len(row.wrong)} wrong")
    return row


def head_killed(folder: Path, say: Say) -> Row:
    """End the whole cluster under a search; then resume it on a new one. The driver has to end by itself."""
    row = Row("the head killed, and the study resumed on a new cluster")
    arena = Arena.make(folder / "head")
    ledger = Ledger(arena.study)
    with Nodes.of(2) as nodes:
        run = replace(arena, executor=nodes.words).start(TRIALS)
        run.wait(lambda: len(run.reported()) >= 2, LONG_S)
        row.times += 1
    code = run.wait_for_end(LONG_S)
    row.ended.append("hangs" if code is None else f"without its cluster exit code {code}")
    if code is None or run.complaint == "traceback":
        row.wrong.append(f"ended with {code} ({_without(arena.folder, run.complaint)})")
    run.kill()
    _read(ledger, [run], row)
    with Nodes.of(2) as nodes:
        ended(arena, replace(arena, executor=nodes.words).start(TRIALS), row, ledger)
    say(f"{row.fault}: {len(row.lost)} lost, {len(row.wrong)} wrong; {', '.join(row.ended)}")
    return row
