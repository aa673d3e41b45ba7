"""How fast recovery trains, beside the plain loop that a user would write: fp32, the teacher asked at every step.

    python benchmarks/recovery_speed.py [STUDY] [--steps 60] [--seeds 3]

Both train the same student of STUDY (default `digits`) by distillation for the same number of batches, in turns. It
prints the seconds per epoch of each (median over seeds, with the range) and the ratio of each pair.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F

from autocompress.compression.distill import Lessons
from autocompress.compression.edits import Parent
from autocompress.compression.precision import module_to_training_layout, training_device, training_dtype
from autocompress.compression.recover import Recoverer
from autocompress.compression.schedule import Schedule, fitting_schedule
from autocompress.compression.student import make_student
from autocompress.evaluators.timing.machine import conditions
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.spaces.target import Target
from autocompress.studies.study_file import load_study
from autocompress.studies.task import PreparedTask


def plain_seconds(task: PreparedTask, recovery: Recovery, batch_size: int, steps: int, seed: int) -> float:
    """Return the seconds that an ordinary distillation loop in float32 takes for `steps` batches."""
    student = make_student(Parent(task.teacher), StudentSpec()).module.train()
    optimizer = torch.optim.SGD(student.parameters(), lr=recovery.learning_rate, momentum=0.9, nesterov=True)
    batches = task.train.epoch_plan(0, batch_size, seed)
    start = time.perf_counter()
    for step in range(steps):
        inputs, labels = batches.batch(step % batches.steps)
        with torch.no_grad():
            taught = task.teacher(inputs)
        outputs = student(inputs)
        t = recovery.temperature
        soft = F.kl_div(F.log_softmax(outputs / t, 1), F.softmax(taught / t, 1), reduction="batchmean") * t * t
        loss = recovery.alpha * soft + (1 - recovery.alpha) * F.cross_entropy(outputs, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.perf_counter() - start


def our_seconds(
    task: PreparedTask, lessons: Lessons, spec: StudentSpec, batch_size: int, steps: int, seed: int
) -> float:
    """Return the seconds that `Recoverer` takes for the same batches."""
    full = task.train.epoch_plan(0, batch_size, seed).steps
    schedule = Schedule(epochs=steps / full, rungs=(1.0,), batch_size=batch_size, seed=seed)
    recoverer = Recoverer(task.train, lessons, schedule, lessons.device, nullcontext)
    student = make_student(Parent(task.teacher), spec)
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        recoverer.recover(student, spec, 0, Path(folder) / "student.pt", lambda: False)
        return time.perf_counter() - start


def main() -> None:
    """Run what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", nargs="?", default="digits")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    settings = load_study(options.study)
    task = settings.build_task().prepared()
    device, recovery = training_device(), settings.recovery
    _, batch_size = fitting_schedule(len(task.train), recovery.epochs, recovery.batch_size)
    per_epoch = task.train.epoch_plan(0, batch_size, 0).steps / options.steps
    answering = module_to_training_layout(make_student(Parent(task.teacher), StudentSpec()).module.eval(), device)
    last = next(n for n, m in reversed(list(task.teacher.named_modules())) if isinstance(m, torch.nn.Linear))
    low = {n: 8 for n, m in task.teacher.named_modules() if isinstance(m, torch.nn.Conv2d)}
    plain_spec = StudentSpec(recovery=Recovery())
    aware_spec = StudentSpec(bits=low, recovery=Recovery(quantization_aware=True))
    rows: dict[str, list[float]] = {"plain fp32 loop": [], "first trial": [], "later trials": [], "aware, later": []}
    for seed in range(options.seeds):
        lessons = Lessons(answering, last, device)
        rows["plain fp32 loop"].append(plain_seconds(task, Recovery(), batch_size, options.steps, seed))
        for name in ("first trial", "later trials"):
            rows[name].append(our_seconds(task, lessons, plain_spec, batch_size, options.steps, seed))
        rows["aware, later"].append(our_seconds(task, lessons, aware_spec, batch_size, options.steps, seed))
    shown = conditions(Target(), "")
    print(
        f"{options.study}, {options.steps} steps of {batch_size}, {options.seeds} seeds; {shown['device_name']}, "
        f"{torch.get_num_threads()} threads, recovery in {training_dtype(device)} on {device}"
    )
    plain = rows["plain fp32 loop"]
    for name, seconds in rows.items():
        epochs = [s * per_epoch for s in seconds]
        ratios = [p / s for p, s in zip(plain, seconds, strict=True)]
        print(
            f"{name:16}  {statistics.median(epochs):7.2f} s an epoch ({min(epochs):.2f} to {max(epochs):.2f}), "
            f"{statistics.median(ratios):.2f} times as fast ({min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
