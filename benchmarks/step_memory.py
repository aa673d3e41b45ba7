"""What memory one step of training holds in each way to teach, by what it holds: a network of torchvision, untrained.

    python benchmarks/step_memory.py [--network vit_b_16] [--batch 4] [--size 224] [--optimizer adamw] [--rank 8]

The figures are those of float32, and follow from the network alone: no allocator, device or other work changes them.
"""

from __future__ import annotations

import argparse
from dataclasses import fields

import torch
from torchvision import models

from autocompress.compression.edits import Parent
from autocompress.compression.memory import StepBytes, StepMeter
from autocompress.compression.optimizers import descend, make_optimizer
from autocompress.compression.student import make_student
from autocompress.compression.tuning import Tuning
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.layers import find_layers
from autocompress.spaces.network import look_at_network
from autocompress.spaces.spec import TUNES, Recovery, StudentSpec


def step_bytes(network: str, batch: int, size: int, recovery: Recovery) -> StepBytes:
    """Return what one step holds.

    Args:
        network: Name of a classifier of torchvision.
        batch: Images in a batch.
        size: Pixels on a side.
        recovery: Says what is trained, and by which optimizer.
    """
    inputs = torch.randn(batch, 3, size, size)
    graph = capture(models.get_model(network, weights=None), inputs[:1])
    student = make_student(Parent.of(graph, look_at_network(graph, inputs[:1])), StudentSpec(recovery=recovery))
    last = find_layers(graph, inputs[:1])[-1].name
    module = student.module
    tuning = Tuning(student, recovery, last)
    optimizer = make_optimizer(recovery, tuning.trained, 0.0)
    scaler, meter = torch.amp.GradScaler("cpu", enabled=False), StepMeter()
    tuning.train_mode()
    with meter.watching(tuning.held, tuning.trained, optimizer):
        loss = torch.nn.functional.cross_entropy(module(inputs), torch.arange(batch))
        descend(loss, optimizer, scaler, tuning.trained)
    assert meter.largest is not None
    return meter.largest


def main() -> None:
    """Print a table, a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="vit_b_16")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--optimizer", choices=["sgd", "adamw"], default="adamw")
    parser.add_argument("--rank", type=int, default=Recovery.rank)
    options = parser.parse_args()
    names = [each.name for each in fields(StepBytes)]
    print(f"{options.network}, a batch of {options.batch}, MB: | {' | '.join(names)} | total")
    for tune in TUNES:
        recovery = Recovery(optimizer=options.optimizer, tune=tune, rank=options.rank)
        found = step_bytes(options.network, options.batch, options.size, recovery)
        figures = [*(getattr(found, name) for name in names), found.total]
        print(f"{tune} | {' | '.join(f'{figure / 1e6:.1f}' for figure in figures)}", flush=True)


if __name__ == "__main__":
    main()
