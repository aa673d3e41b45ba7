"""What this project's GPU parts are worth on the NVIDIA GPU of this machine, in under 8 minutes and without network.

    python benchmarks/gpu_check.py --out gpu_check.md [--wheels FOLDER] [--data FOLDER] [--weights FILE]

Needs Python 3.11 or newer and torch with CUDA; the project need not be installed. Exit code 0: all parts did well.
1: something failed, and the table says what. 3: there is no CUDA device.

Parts, each in a process of its own with a time limit, so that one that fails does not lose the others:

    training   a student of ResNet-20, distilled in fp32, bf16 and fp16, in both memory layouts
    latency    files of the runtimes pytorch and torch_compile: fp32, fp16, bf16, and half of the channels
    sparsity   linear layers with 2:4 weights against dense ones
    parity     the outputs of each file against eager fp32
    search     `autocompress search digits --target torch_compile@cuda`, for the minutes that are left

With --device cpu all but `sparsity` run, briefly, to try the script itself: its numbers say nothing of a GPU.

Where the machine has no network, collect the wheels that it lacks beforehand, on another machine, for its Python:

    pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \\
        --platform manylinux_2_28_x86_64 --platform manylinux_2_24_x86_64 --platform manylinux_2_17_x86_64 \\
        --platform manylinux2014_x86_64 --constraint constraints.txt --dest wheels \\
        optuna sqlalchemy greenlet alembic mako colorlog moocore cffi pycparser platformdirs \\
        pydantic pydantic-core annotated-types typing-inspection zstandard

Wheels of packages that are installed already are left alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_check_measure import Part
from gpu_check_setup import gpu_state, machine_facts, prepare_imports

LIMITS = {"training": 50.0, "latency": 150.0, "sparsity": 20.0, "parity": 30.0, "search": 225.0}
"""Seconds of each part at most; 7 minutes and 55 seconds together."""
MEASURING = {"training": 35.0, "latency": 115.0, "sparsity": 12.0, "parity": 22.0, "search": 165.0}
"""Seconds of them for measuring; the rest is for starting, and for what was begun in time."""
ALL_SECONDS = 475.0
"""The search, which comes last, may also have what the parts before it did not use of this."""
START_SECONDS = 90.0
"""What a part may take beyond the seconds that --seconds gives it."""
EXIT_FAILED, EXIT_NO_CUDA = 1, 3


@dataclass
class Outcome:
    """What a part wrote down."""

    name: str
    rows: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def read(self, file: Path) -> None:
        """Take over what the part's process wrote into its file."""
        places: dict[str, list[Any]] = {"row": self.rows, "note": self.notes, "failed": self.failures}
        for line in file.read_text().splitlines() if file.exists() else ():
            with contextlib.suppress(ValueError):  # a last line, cut off when the process was killed
                for kind, content in json.loads(line).items():
                    places[kind].append(content)

    def markdown(self) -> str:
        """Return the part's section of the report."""
        verdict = "failed" if self.failures else "ok"
        lines = [f"## {self.name}: {verdict}, {self.seconds:.0f} s", ""]
        if self.rows:
            columns = list(self.rows[0])
            lines += [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
            lines += [f"| {' | '.join(row.get(column, '-') for column in columns)} |" for row in self.rows] + [""]
        lines += [f"- FAILED {words}" for words in self.failures]
        return "\n".join([*lines, *self.notes]) + "\n"


def main() -> int:
    options = _options()
    if options.child:
        return _child(options)
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            print(f"gpu_check: torch {torch.__version__} finds no CUDA device; --device cpu tries the script itself")
            return EXIT_NO_CUDA
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_FAILED))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu_check_") as name:
        folder = Path(name)
        facts = prepare_imports(folder, options.wheels)
        facts = [*machine_facts(options.device), *facts]
        report = "# GPU check\n\n" + "".join(f"- {fact}\n" for fact in facts)
        print(report, flush=True)
        outcomes = []
        for part in options.parts:
            if part == "sparsity" and options.device == "cpu":
                continue
            outcomes.append(_run(part, options, folder, ALL_SECONDS - (time.monotonic() - started)))
            report += "\n" + outcomes[-1].markdown()
            print(outcomes[-1].markdown(), flush=True)
            if options.out is not None:  # after each part, so that nothing is lost when this process is ended
                options.out.write_text(report)
    failed = [outcome.name for outcome in outcomes if outcome.failures]
    print(f"{len(outcomes)} parts in {time.monotonic() - started:.0f} s, failed: {', '.join(failed) or 'none'}")
    return EXIT_FAILED if failed else 0


def _run(name: str, options: argparse.Namespace, folder: Path, seconds_left: float) -> Outcome:
    """Run one part in a process of its own, and end that process with all it started when its time is up."""
    outcome, rows = Outcome(name), folder / f"{name}.jsonl"
    limit = LIMITS[name] if options.seconds is None else options.seconds + START_SECONDS
    if name == "search" and options.seconds is None:
        limit = max(limit, seconds_left)
    place = folder / name
    place.mkdir()
    command = [sys.executable, __file__, *sys.argv[1:], "--child", name, "--folder", str(place), "--rows", str(rows)]
    command += ["--limit", str(limit)]
    started = time.monotonic()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        try:
            _, said = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the session that this process leads, nothing else
            _, said = process.communicate()
            outcome.failures.append(f"{name}: ended at its limit of {limit:.0f} s; what it had is above")
        except BaseException:  # this process is to end: what it started must not go on without it
            os.killpg(process.pid, signal.SIGKILL)
            raise
    outcome.seconds = time.monotonic() - started
    outcome.read(rows)
    if process.returncode != 0 and not outcome.failures:
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "no message")
        outcome.failures.append(f"{name}: exit code {process.returncode}: {last.strip()[:300]}")
    if options.device == "cuda":
        outcome.notes.append(f"GPU right after it: {gpu_state()}")
    return outcome


def _child(options: argparse.Namespace) -> int:
    """Run a part in this process. What it imports is imported here, so that a missing package fails this part alone."""
    name = options.child
    seconds = MEASURING[name] if options.seconds is None else options.seconds
    settings = {
        key: getattr(options, key) for key in ("device", "limit", "repeats", "folder", "rows", "data", "weights")
    }
    part = Part(seconds=seconds, **settings)
    if options.device == "cpu":
        import torch

        torch.set_num_threads(1)  # a trial of the script must come to an end on a busy machine too
    try:
        if name == "training":
            from gpu_check_training import training as run
        elif name == "search":
            from gpu_check_search import search as run
        else:
            import gpu_check_inference

            run = getattr(gpu_check_inference, name)
        run(part)
    except Exception as error:
        part.failed(name, error)
        return EXIT_FAILED
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--parts", type=_parts, default=tuple(LIMITS), help="such as training,parity; all by default")
    parser.add_argument("--seconds", type=float, help="of measuring in each part, in place of its own")
    parser.add_argument("--repeats", type=int, default=7, help="rounds of each comparison, at least 5")
    parser.add_argument("--out", type=Path, help="the report, as Markdown")
    parser.add_argument("--data", type=_folder, help="folder of cifar10-train.parquet, else synthetic images")
    parser.add_argument("--weights", type=Path, help="weights of ResNet-20, else random ones")
    parser.add_argument("--wheels", type=_folder, help="folder of wheels for what is not installed")
    internal: dict[str, Any] = {"--child": str, "--folder": Path, "--rows": Path, "--limit": float}
    for name, kind in internal.items():
        parser.add_argument(name, type=kind, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.repeats = max(5, options.repeats)
    return options


def _parts(text: str) -> Sequence[str]:
    names = tuple(text.split(","))
    if wrong := [name for name in names if name not in LIMITS]:
        raise argparse.ArgumentTypeError(f"no part {wrong[0]!r}; known: {', '.join(LIMITS)}")
    return names


def _folder(text: str) -> Path:
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"no folder {text}")
    return Path(text).resolve()


if __name__ == "__main__":
    sys.exit(main())
