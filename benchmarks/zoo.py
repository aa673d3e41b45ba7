"""How much of well-known networks can be shrunk: groups found, what is left out, and whether files are their students.

    python benchmarks/zoo.py                                  # all of them
    python benchmarks/zoo.py timm [names ...] --markdown zoo.md

Every network has random weights: nothing is downloaded. Two joint plans are drawn for each: "narrow" gives every group
of channels a width of its own, "whole" drops a third of the blocks too, and makes inputs smaller. Both are written as
ONNX files, and held against their students at batches of 1 and of 8. Each network has a process of its own, with a time
limit and a limit of memory, so that one that cannot be handled costs its row alone.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import time
import warnings
from collections.abc import Iterator
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import torch
from zoo_networks import SOURCES
from zoo_row import look

from autocompress.evaluators.timing.machine import conditions
from autocompress.spaces.target import Target

HEAD = (
    "| network | groups, blocks, sizes | weights in groups | trace, groups, sizes, export [CPU s] | narrow file | int8 "
    "| whole file | int8 | memory [GB] | what is left out, and why |\n|" + " --- |" * 10
)
COVERED, PARITY = 0.6, 1e-4


def looked_at(source: str, name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Look at one network in a process of its own, and return what it told before it ended, or was ended."""
    context = multiprocessing.get_context("fork")  # what this process has imported need not be imported again
    make = partial(SOURCES[source][0], name)
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=look, args=(make, not arguments.groups_only, theirs))
    process.start()
    theirs.close()
    found: dict[str, Any] = {"source": source, "name": name}
    until = time.monotonic() + arguments.seconds
    while _news(ours, found):
        used = psutil.Process(process.pid).memory_info().rss / 1e9 if process.is_alive() else 0.0
        if time.monotonic() > until or used > arguments.memory_gb:
            why = f"{arguments.seconds} s" if time.monotonic() > until else f"{arguments.memory_gb} GB"
            found["remark"] = f"ended: took more than {why}"
            break
    process.kill()
    process.join()
    return found


def _news(connection: Connection, found: dict[str, Any]) -> bool:
    """Take in what has been told; return whether more may come."""
    try:
        while connection.poll(0.3):
            found.update(connection.recv())
    except EOFError:
        return False
    return True


def shown(row: dict[str, Any]) -> str:
    """Return a line of the table."""
    reasons = "; ".join(f"{names}: {reason}" for names, reason in row.get("reasons", ()))
    remarks = (row.get(key) for key in ("traceback", "remark", "parity_remark", "whole_remark"))
    remark = next((told for told in remarks if told), reasons)
    found = ", ".join(str(row.get(key, "-")) for key in ("groups", "blocks", "sizes"))
    parts = ("trace_s", "find_s", "sizes_s", "parity_s")
    seconds = ", ".join(f"{row[part]:.0f}" if part in row else "-" for part in parts)
    covered = f"{row['covered']:.0%}" if "covered" in row else "-"
    files = " | ".join(
        f"{f'{row[key]:.0e}' if key in row else '-'} | {row.get(f'{key}_int8', '-')}" for key in ("parity", "whole")
    )
    return f"| {row['name']} | {found} | {covered} | {seconds} | {files} | {row.get('memory_gb', '-')} | {remark} |"


def summary(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Yield a line for each library: how many ended, are covered, and have files that agree."""
    for source in dict.fromkeys(row["source"] for row in rows):
        own = [row for row in rows if row["source"] == source]
        ended = sum("traceback" not in row for row in own)
        covered = sum(row.get("covered", 0.0) >= COVERED for row in own)
        files = [row[key] for row in own for key in ("parity", "whole") if key in row]
        agree = sum(off <= PARITY for off in files)
        int8 = sum(row.get(f"{key}_int8") == "built" for row in own for key in ("parity", "whole"))
        slowest = max((row.get("find_s", 0.0) for row in own), default=0.0)
        yield (
            f"{source}: {ended} of {len(own)} without a traceback, {covered} with {COVERED:.0%} or more of their "
            f"weights in groups, {agree} of {len(files)} files within {PARITY:.0e}, {int8} in int8, groups found in "
            f"{slowest:.0f} s at most"
        )


def main() -> None:
    """Print the table, row by row, and the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", nargs="?", choices=SOURCES, help="all of them by default")
    parser.add_argument("names", nargs="*", help="networks of that library; all of the zoo's by default")
    parser.add_argument("--groups-only", action="store_true", help="write no files")
    parser.add_argument("--seconds", type=int, default=300, help="time limit of each network (%(default)s)")
    parser.add_argument("--memory-gb", type=float, default=6.0, help="limit of each network (%(default)s)")
    parser.add_argument("--markdown", type=Path, help="file that gets the table")
    arguments = parser.parse_intermixed_args()
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    conditions_now = conditions(Target("onnxruntime"), "")
    lines = [f"{conditions_now['device_name']}, load {conditions_now['load_1min']}, torch {torch.__version__}"]
    print(lines[0], flush=True)
    rows = []
    for source in [arguments.source] if arguments.source else SOURCES:
        try:
            importlib.import_module(source)
        except ImportError:
            print(f"{source} is not installed: pip install 'autocompress[zoo]'")
            continue
        lines += ["", f"**{source}**", "", HEAD]
        print("\n".join(lines[-4:]), flush=True)
        for name in arguments.names or SOURCES[source][1]:
            rows.append(looked_at(source, name, arguments))
            lines.append(shown(rows[-1]))
            print(lines[-1], flush=True)
            if arguments.markdown:
                arguments.markdown.write_text("\n".join([*lines, "", *summary(rows), ""]), encoding="utf-8")
    print("\n" + "\n".join(summary(rows)))


if __name__ == "__main__":
    main()
