"""The parts `latency`, `sparsity` and `parity` of `gpu_check`: files of the runtimes, and 2:4 linear layers."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from gpu_check_measure import Part, in_turns, ratios, shown
from torch import Tensor, nn

from autocompress.errors import one_line
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.timing.processes import TimedFile, TimingRequest, time_in_fresh_process
from autocompress.spaces.target import Target
from autocompress.studies.models import cifar_resnet

RUNTIMES = ("pytorch", "torch_compile")
VARIANTS = {"fp32": (16, 32), "fp16": (16, 16), "bf16": (16, 16), "fp32, 50 % channels": (8, 32)}
"""Width of ResNet-20's first stage, and bits."""
BLOCK_SECONDS = 0.03
CHILD_SECONDS = 8.0
TOLERANCES = {"fp32": 5e-3, "fp32 without TF32": 1e-4, "fp16": 1e-2, "bf16": 5e-2}
"""Largest difference allowed, relative to the largest output. TF32 has the 10 bits of fp16, bfloat16 has 7."""
SPARSE_TOLERANCE = 5e-3
SHAPES = ((1024, 1024, 256), (4096, 1024, 256), (4096, 4096, 256), (4096, 4096, 4096))
"""Outputs, inputs and rows of linear layers, with the sizes that the kernels of 2:4 sparsity ask for."""


class Half16(nn.Module):
    """A network in float16 with float32 outside, which the runtimes do not offer by themselves."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.inner = module.half()

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs [N, K] for inputs [N, C, H, W], both float32."""
        return self.inner(inputs.half()).float()


def latency(part: Part) -> None:
    """Time each variant on each runtime: the project's timing process, and CUDA events beside wall time."""
    files = _build(part)
    for batch in (1, 32):
        modules: dict[tuple[str, str], Any] = {}
        for runtime in RUNTIMES:
            for variant, path in files.items():
                if runtime != "pytorch" and not part.can_compile:
                    part.note(f"Left out, no time to compile: {runtime} {variant}, batch {batch}.")
                    continue
                with part.caught(f"{runtime} {variant}, batch {batch}"):
                    modules[runtime, variant] = _ready(part, runtime, path, batch)
        walls = _child_walls(part, {key: files[key[1]] for key in modules}, batch)
        calls = {", ".join(key): call for key, call in modules.items()}
        if (first := calls.get("pytorch, fp32")) is not None:
            calls["pytorch, fp32 again"] = first
        given = in_turns(part, {name: _timer(part, call) for name, call in calls.items()})
        base = [wall for wall, _ in given.get("pytorch, fp32", ())]
        for name, times in given.items():
            wall, device = zip(*times, strict=True)
            part.row(
                batch=batch,
                runtime_and_variant=name,
                timing_process_ms=walls.get(name, "-"),
                wall_ms=shown(wall),
                events_ms=shown(device) if part.on_gpu else "-",
                speed_up=ratios(base, wall) if base else "-",
            )
    part.note(
        "Columns: median of calls in the project's timing process, input and output copied; wall time of a call that "
        "is waited for, input on the device; CUDA events around calls back to back, by call; speed-up of wall time "
        "over pytorch, fp32 in the same round. Median of rounds with 95 % interval (sign test)."
    )


def sparsity(part: Part) -> None:
    """Time linear layers with 2:4 weights against dense ones, in float16, with each kernel library that is there."""
    from torch.sparse import SparseSemiStructuredTensor, to_sparse_semi_structured

    device = torch.device(part.device)
    for outputs, inputs, rows in SHAPES:
        torch.manual_seed(0)
        dense = torch.randn(outputs, inputs, device=device, dtype=torch.float16) / inputs**0.5
        largest = dense.float().abs().view(outputs, -1, 4).topk(2, dim=-1).indices
        keep = torch.zeros(outputs, inputs // 4, 4, device=device).scatter_(-1, largest, 1).view(outputs, inputs).bool()
        pruned = dense.where(keep, torch.zeros_like(dense))
        batch = torch.randn(rows, inputs, device=device, dtype=torch.float16)
        wanted = F.linear(batch.float(), pruned.float())
        calls: dict[str, Callable[[], Any]] = {"dense": _linear(batch, dense), "dense again": _linear(batch, dense)}
        refused = []
        for library in ("cuSPARSELt", "CUTLASS"):
            try:
                SparseSemiStructuredTensor._FORCE_CUTLASS = library == "CUTLASS"
                call = _linear(batch, to_sparse_semi_structured(pruned))
                apart = _apart(call(), wanted)
            except Exception as error:  # neither library has kernels for every GPU
                refused.append(f"2:4 by {library}, {outputs} x {inputs}: {one_line(error)}")
                continue
            if not apart <= SPARSE_TOLERANCE:
                part.failed(f"2:4 by {library}", f"differs by {apart:.1e}, allowed {SPARSE_TOLERANCE:g}")
            calls[f"2:4 by {library}"] = call
        for words in refused:
            part.note(f"No kernel here: {words}")
        if len(refused) == 2:
            part.failed(f"2:4, {outputs} x {inputs}, {rows} rows", "neither library has a kernel here, see below")
        given = in_turns(part, {name: _timer(part, call) for name, call in calls.items()})
        base = [events for _, events in given.get("dense", ())]
        for name, times in given.items():
            events = [events for _, events in times]
            shape = f"{outputs} x {inputs}, {rows} rows"
            ratio = ratios(base, events) if base else "-"
            part.row(layer=shape, weights=name, events_ms=shown(events), dense_over_this=ratio)
    part.note(
        f"float16; CUDA events, by call. 2:4 products are within {SPARSE_TOLERANCE:g} of float32 unless told as failed."
    )


def parity(part: Part) -> None:
    """Compare the outputs of every file with eager float32 on the CPU."""
    files, inputs = _build(part), _inputs(32)  # a batch that `latency` compiled for
    with torch.inference_mode():
        wanted = {width: _network(width, part.weights)(inputs) for width in {w for w, _ in VARIANTS.values()}}
    checks = [(runtime, variant) for runtime in RUNTIMES for variant in files]
    if part.on_gpu:
        checks.insert(0, ("pytorch", "fp32 without TF32"))
    for runtime, variant in checks:
        if runtime != "pytorch" and not part.can_compile:
            part.note(f"Left out, no time to compile: {runtime} {variant}.")
            continue
        with part.caught(f"{runtime} {variant}"):
            plain = variant.removesuffix(" without TF32")
            torch.backends.cudnn.allow_tf32 = variant == plain
            loaded = get_runtime(runtime).load(files[plain], Target(runtime, part.device, batch=len(inputs)))
            apart = _apart(torch.from_numpy(loaded.run(inputs.numpy())), wanted[VARIANTS[plain][0]])
            allowed = TOLERANCES[variant.partition(",")[0]]
            part.row(runtime=runtime, variant=variant, difference=f"{apart:.1e}", allowed=f"{allowed:g}")
            if not apart <= allowed:
                part.failed(f"{runtime} {variant}", f"differs by {apart:.1e}, allowed {allowed:g}")
    part.note("Difference: the largest from eager float32 on the CPU, relative to its largest output; 32 images.")


def _build(part: Part) -> dict[str, Path]:
    """Return the files of the variants, written by the runtime `pytorch`; one that cannot be is told as a failure."""
    files = {}
    for name, (width, bits) in VARIANTS.items():
        path = part.folder / f"{name.replace(' ', '').replace('%', '')}.pt2"
        with part.caught(f"building {name}"):
            module = _network(width, part.weights)
            asked = {"all": bits} if name == "bf16" else {}
            module = Half16(module).eval() if name == "fp16" else module
            get_runtime("pytorch").build(BuildRequest(None, {}, asked, _inputs(32).numpy(), module), path)
            files[name] = path
    return files


def _network(width: int, weights: Path | None) -> nn.Module:
    torch.manual_seed(0)
    module = cifar_resnet(20, width=width)
    if weights is not None and width == 16:
        from autocompress.studies.checkpoint import load_weights

        load_weights(module, weights)
        return module.eval()
    for norm in (m for m in module.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.momentum = None  # the plain mean, so that one batch sets the statistics of random weights
    with torch.no_grad():
        module.train()(_inputs(64))
    return module.eval()


def _inputs(count: int) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def _ready(part: Part, runtime: str, path: Path, batch: int) -> Callable[[], Any]:
    """Return a call of the file's module with its input on the device, compiled and warm."""
    program = torch.export.load(path)
    if part.on_gpu:
        from torch.export.passes import move_to_device_pass

        program = move_to_device_pass(program, part.device)
    module: Any = program.module()
    module = torch.compile(module) if runtime == "torch_compile" else module
    inputs = _inputs(batch).to(part.device)

    def call() -> Any:
        with torch.inference_mode():
            return module(inputs)

    for _ in range(3):
        call()
    part.synchronize()
    return call


def _timer(part: Part, call: Callable[[], Any]) -> Callable[[], tuple[float, float]]:
    """Return a function that times a block: median wall time of a call waited for, and time by call back to back."""

    def once() -> float:
        start = time.perf_counter()
        call()
        part.synchronize()
        return (time.perf_counter() - start) * 1e3

    def block() -> tuple[float, float]:
        walls = [once(), once()]
        while sum(walls) < 1e3 * BLOCK_SECONDS:
            walls.append(once())
        count = len(walls)
        if not part.on_gpu:
            return float(np.median(walls[1:])), float("nan")
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(count):
            call()
        end.record()
        part.synchronize()
        return float(np.median(walls[1:])), begin.elapsed_time(end) / count

    return block


def _child_walls(part: Part, files: dict[tuple[str, str], Path], batch: int) -> dict[str, str]:
    """Return the wall time of each file from one fresh process of the project's own, in which they take turns."""
    timed = {key: TimedFile(path, Target(key[0], part.device, batch=batch)) for key, path in files.items()}
    with part.caught(f"the timing process, batch {batch}"):
        seconds = min(CHILD_SECONDS, part.seconds / 8)
        found = time_in_fresh_process(TimingRequest(tuple(timed.values()), precision=0.01, max_seconds=seconds))
        medians = (np.median(times.wall_ms, axis=1).tolist() for times in found.models)
        return {", ".join(key): shown(walls) for key, walls in zip(timed, medians, strict=True)}
    return {}


def _linear(inputs: Tensor, weight: Tensor) -> Callable[[], Tensor]:
    return lambda: F.linear(inputs, weight)


def _apart(got: Tensor, wanted: Tensor) -> float:
    got, wanted = got.float().cpu(), wanted.float().cpu()
    return float((got - wanted).abs().max() / wanted.abs().max())
