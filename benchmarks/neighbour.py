"""A neighbour: another process that trains a network on this machine until it is ended.

With a lock folder it trains by the quiet rule, a slice at a time; without one it is a stranger, who knows of no rule.
"""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from types import TracebackType


class Neighbour:
    """Trains while inside `with`."""

    def __init__(self, threads: int, lock: Path | None = None) -> None:
        """Begin to train.

        Args:
            threads: Of the training.
            lock: Folder of the quiet lock, None for a stranger.
        """
        command = [sys.executable, __file__, str(threads), "" if lock is None else str(lock)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._process.stdout.readline()  # it has set up and trains

    def steps(self) -> int:
        """Return the number of batches that it has trained so far."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def __enter__(self) -> Neighbour:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End the training."""
        self._process.kill()
        self._process.communicate()


def train(threads: int, lock: Path | None) -> None:
    """Train batch after batch, and tell how many there were for every line on standard input."""
    import threading

    import torch
    from torch.nn.functional import cross_entropy

    from autocompress.evaluators.timing.quiet import QuietMachine
    from autocompress.studies.models import build_model

    torch.set_num_threads(threads)
    model = build_model("cifar_resnet20", 10).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    images, labels = torch.randn(32, 3, 32, 32), torch.randint(0, 10, (32,))
    quiet = None if lock is None else QuietMachine(folder=lock)
    done = 0

    def tell() -> None:
        for _ in sys.stdin:
            print(done, flush=True)

    threading.Thread(target=tell, daemon=True).start()
    while True:
        slice_ends = time.monotonic() + 0.3
        with nullcontext() if quiet is None else quiet.training_slice():
            while time.monotonic() < slice_ends:
                loss = cross_entropy(model(images), labels)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                done += 1
                if done == 1:
                    print("trains", flush=True)


if __name__ == "__main__":
    train(int(sys.argv[1]), Path(sys.argv[2]) if sys.argv[2] else None)
