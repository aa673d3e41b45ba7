"""A neighbour: another process that trains a network, or scores a file, on this machine until it is ended.

With a lock folder it works by the quiet rule, a slice at a time; without one it is a stranger, who knows of no rule.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from numpy.typing import NDArray


class Neighbour:
    """Works while inside `with`."""

    def __init__(self, threads: int, lock: Path | None = None, work: str = "training") -> None:
        """Begin to work.

        Args:
            threads: Of the work.
            lock: Folder of the quiet lock, None for a stranger.
            work: "training", or "scoring": a file is run over images, as for its accuracy.
        """
        command = [sys.executable, __file__, str(threads), "" if lock is None else str(lock), work]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has set up and trains

    def steps(self) -> int:
        """Return the number of batches of 32 that it has done so far."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def __enter__(self) -> Neighbour:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the work."""
        self._process.kill()
        self._process.communicate()


class Told:
    """Tells how many batches were done, for every line on standard input."""

    def __init__(self) -> None:
        """Begin to listen."""
        self.batches = 0
        threading.Thread(target=self._tell, daemon=True).start()

    def one_more(self) -> None:
        """Count a batch, and say so when it is the first."""
        self.batches += 1
        if self.batches == 1:
            print("works", flush=True)

    def _tell(self) -> None:
        for _ in sys.stdin:
            print(self.batches, flush=True)


def train(threads: int, lock: Path | None) -> None:
    """Train batch after batch."""
    import torch
    from torch.nn.functional import cross_entropy

    from autocompress.evaluators.timing.quiet import QuietMachine
    from autocompress.studies.models import build_model

    torch.set_num_threads(threads)
    model = build_model("cifar_resnet20", 10).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images, labels = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))
    quiet = None if lock is None else QuietMachine(folder=lock)
    told = Told()
    while True:
        slice_ends = time.monotonic() + 0.3
        with nullcontext() if quiet is None else quiet.training_slice():
            while time.monotonic() < slice_ends:
                loss = cross_entropy(model(images), labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                told.one_more()


def score(threads: int, lock: Path | None) -> None:
    """Run a file over images again and again, as a search does to know its accuracy."""
    from networks import Network, Variant

    from autocompress.evaluators.runtimes.registry import get_runtime
    from autocompress.evaluators.score import predict
    from autocompress.evaluators.timing.quiet import QuietMachine

    network = Network("resnet20")
    slices = nullcontext if lock is None else QuietMachine(folder=lock).training_slice
    with tempfile.TemporaryDirectory() as folder:
        built = network.build("onnxruntime", Variant(), Path(folder))
        target = replace(built.target, threads=threads)
        runtime, told = get_runtime("onnxruntime"), Told()
        images = network.inputs.repeat(4, 1, 1, 1).numpy()

        def batches() -> Iterator[NDArray[Any]]:
            while True:
                yield images
                told.one_more()

        predict(built.path, runtime, target, batches(), slices)


if __name__ == "__main__":
    {"training": train, "scoring": score}[sys.argv[3]](int(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] else None)
