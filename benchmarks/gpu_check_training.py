"""The part `training` of `gpu_check`: images a second of distillation, by number format and memory layout."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from gpu_check_measure import Part, in_turns, ratios, shown
from torch import Tensor, nn

from autocompress.compression.distill import Lesson, Lessons, distillation_loss
from autocompress.compression.precision import module_to_training_layout, to_training_layout
from autocompress.compression.recover import Recoverer
from autocompress.compression.schedule import Schedule
from autocompress.compression.student import Student
from autocompress.spaces.inputs import Inputs, mapped
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.data.images import ImageData
from autocompress.studies.models import cifar_resnet

IMAGES = 8192
BATCHES_KEPT = 8
CALL_SECONDS = 0.4
FORMATS = {"fp32": torch.float32, "bf16 autocast": torch.bfloat16, "fp16 + GradScaler": torch.float16}
OURS = "Recoverer of the project"
RECOVERY = Recovery()
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def training(part: Part) -> None:
    """Train a student of ResNet-20 with distillation in every format, in turns."""
    device = torch.device(part.device)
    images = _images(part).to(device)
    torch.manual_seed(0)
    teacher: nn.Module = cifar_resnet(20)
    if part.weights is not None:
        from autocompress.studies.checkpoint import load_weights

        load_weights(teacher, part.weights)
    teacher = module_to_training_layout(teacher.eval(), device)
    for batch in (128, 1024) if part.on_gpu else (32,):
        _compare(part, device, images, teacher, batch)
    part.note(
        "Columns: images a second and their ratio to plain fp32 of the same round, median with 95 % interval (sign "
        "test); the loss of the first and of the last step. The loops have the teacher's answers beforehand and wait "
        f"for the GPU at the end; {OURS!r} also augments, looks at the loss and writes a checkpoint, as a search does."
    )


def _compare(part: Part, device: torch.device, images: ImageData, teacher: nn.Module, batch: int) -> None:
    plan = images.epoch_plan(0, batch, 0)
    batches = [plan.batch(i) for i in range(min(BATCHES_KEPT, plan.steps))]
    lessons = Lessons(teacher, "linear", device)
    taught = [lessons.lesson(0, i, inputs, keep=True) for i, (inputs, _) in enumerate(batches)]
    loops: dict[str, _Loop] = {}
    formats = {name: dtype for name, dtype in FORMATS.items() if part.on_gpu or dtype != torch.float16}
    if formats != FORMATS:
        part.note("fp16 is left out: a step of it takes 100 times as long on a CPU.")
    for last in (False, True):
        for name, dtype in formats.items():
            full = f"{name}, channels_last" if last else name
            with part.caught(f"training in {full}"):
                loops[full] = _Loop(device, dtype, last, batches, taught)
                loops[full].run(3)
    loops["fp32 again"] = _Loop(device, torch.float32, False, batches, taught)
    seconds = loops["fp32"].run(3)
    steps = max(3, min(200, round(CALL_SECONDS / (seconds / 3))))
    calls: dict[str, Callable[[], float]] = {
        name: lambda loop=loop: steps * batch / loop.run(steps)  # type: ignore[misc]
        for name, loop in loops.items()
    }
    with part.caught(OURS):
        ours = _ours(part, device, images, teacher, batch, steps)
        ours()  # asks the teacher once for every batch
        calls[OURS] = lambda: steps * batch / ours()
    given = in_turns(part, calls)
    for name, speeds in given.items():
        losses = loops[name].losses if name in loops else []
        words = f"{losses[0]:.2f} to {losses[-1]:.2f}" if losses else "-"
        if losses and not all(map(torch.isfinite, losses)):
            part.failed(f"training in {name}", f"the loss became {losses[-1]}")
        part.row(
            batch=batch,
            training=name,
            images_per_s=shown(speeds, ",.0f"),
            ratio_to_fp32=ratios(speeds, given["fp32"]) if "fp32" in given else "-",
            rounds=len(speeds),
            loss=words,
        )


class _Loop:
    """A distillation loop in one number format and layout; each call goes on where the last one ended."""

    def __init__(
        self,
        device: torch.device,
        dtype: torch.dtype,
        channels_last: bool,
        batches: Sequence[tuple[Inputs, Tensor]],
        taught: list[Lesson],
    ) -> None:
        torch.manual_seed(1)
        student = cifar_resnet(20).train()
        self._student = module_to_training_layout(student, device) if channels_last else student.to(device)
        to_layout = to_training_layout if channels_last else _contiguous
        self._batches = [(to_layout(inputs, device), labels) for inputs, labels in batches]
        self._device, self._dtype, self._taught = device, dtype, taught
        self._scaler = torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
        self._optimizer = torch.optim.SGD(self._student.parameters(), lr=0.01, momentum=0.9, nesterov=True)
        self.losses: list[Tensor] = []

    def run(self, steps: int) -> float:
        """Train for `steps` steps and return the seconds they took."""
        _wait(self._device)
        start = time.perf_counter()
        for step in range(steps):
            self._step(step % len(self._batches))
        _wait(self._device)
        return time.perf_counter() - start

    def _step(self, index: int) -> None:
        inputs, labels = self._batches[index]
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            outputs = self._student(inputs)
        loss = distillation_loss(RECOVERY, outputs, labels, self._taught[index], torch.empty(0), None)
        self._optimizer.zero_grad(set_to_none=True)
        self._scaler.scale(loss).backward()
        self._scaler.unscale_(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self._student.parameters(), 5.0)
        self._scaler.step(self._optimizer)
        self._scaler.update()
        self.losses.append(loss.detach())


def _ours(
    part: Part, device: torch.device, images: ImageData, teacher: nn.Module, batch: int, steps: int
) -> Callable[[], float]:
    """Return a function that trains by the project's own Recoverer and gives the seconds for `steps` steps."""
    schedule = Schedule(epochs=steps / images.epoch_plan(0, batch, 0).steps, rungs=(1.0,), batch_size=batch)
    recoverer = Recoverer(images, Lessons(teacher, "linear", device), schedule, device, contextlib.nullcontext)
    taken = schedule.steps(images)

    def seconds() -> float:
        torch.manual_seed(1)
        student = Student(cifar_resnet(20), {}, {})
        checkpoint: Path = part.folder / "student.pt"
        checkpoint.unlink(missing_ok=True)
        _wait(device)
        start = time.perf_counter()
        recoverer.recover(student, StudentSpec(recovery=RECOVERY), 0, checkpoint, lambda: False)
        _wait(device)
        return (time.perf_counter() - start) * steps / taken

    return seconds


def _images(part: Part) -> ImageData:
    if part.data is None:
        generator = torch.Generator(part.device).manual_seed(0)
        pixels = torch.randint(0, 256, (IMAGES, 3, 32, 32), generator=generator, device=part.device, dtype=torch.uint8)
        labels = torch.randint(0, 10, (IMAGES,), generator=generator, device=part.device)
        return ImageData(pixels, labels, MEAN, STD, "crop_flip")
    import numpy as np
    import pyarrow.parquet
    from PIL import Image

    rows = next(pyarrow.parquet.ParquetFile(part.data / "cifar10-train.parquet").iter_batches(IMAGES)).to_pydict()
    column, label = _columns(rows)
    encoded = [value["bytes"] if isinstance(value, dict) else value for value in rows[column]]
    arrays = np.stack([np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) for data in encoded])
    pixels = torch.from_numpy(arrays).permute(0, 3, 1, 2).contiguous()
    return ImageData(pixels, torch.tensor(rows[label]), MEAN, STD, "crop_flip")


def _columns(rows: dict[str, list[Any]]) -> tuple[str, str]:
    """Return the names of the columns of images and of labels."""
    image = next((name for name in rows if name in ("image", "img")), "image")
    return image, next((name for name in rows if name.startswith("label")), "label")


def _contiguous(inputs: Inputs, device: torch.device) -> Inputs:
    return mapped(lambda part: part.to(device).contiguous(), inputs)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
