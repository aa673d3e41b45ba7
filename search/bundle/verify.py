"""Whether a bundle is what it says it is: its files, its answers, and its latency here. This needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ...errors import BundleError
from ...evaluators.bench import bench
from ...evaluators.measurement import Latency
from ...evaluators.runtimes.base import Runtime
from ...evaluators.runtimes.registry import get_runtime
from ...evaluators.score import predict, relative_difference
from ...evaluators.timing.processes import TimedFile
from ...evaluators.timing.real_inputs import keep_inputs
from ...temporary import temporary_folder
from ..store.samples import read_arrays
from .checksums import NAME, check, listed
from .record import FileRecord, Record, read_record

DEPTH = 3
"""Folders below the one given in which bundles are looked for: a model repository has them two below."""


@dataclass(frozen=True)
class Verified:
    """What was found of one model file. None, and `reason`, where something could not be looked at here.

    Attributes:
        bundle: The bundle's folder.
        target: Name of the target.
        said: What the bundle says of it.
        difference: Largest difference of its answers to the samples from those that are expected, relative to the
            largest of these.
        samples: Number of samples.
        latency: Of one inference, here.
        reason: Why something was not looked at.
    """

    bundle: Path
    target: str
    said: FileRecord
    difference: float | None = None
    samples: int = 0
    latency: Latency | None = None
    reason: str = ""


def check_files(folder: Path) -> int:
    """Check every file of a bundle, or of a folder of bundles, against its checksum.

    Args:
        folder: A folder that `pick --out` wrote.

    Returns:
        Number of files.

    Raises:
        BundleError: A file is missing or was changed, or there is no bundle.
    """
    lists = _below(folder, NAME)
    if not lists:
        raise BundleError(f"no bundle in {folder}: it has no {NAME}; give a folder that `pick --out` wrote")
    return sum(check(path.parent) + 1 for path in lists)


def verify(folder: Path, timed: bool = True) -> Iterator[Verified]:
    """Run the models of a bundle on its samples, and time them.

    Args:
        folder: A folder that `pick --out` wrote; see `check_files`, which is to be called first.
        timed: Whether to measure latencies.

    Yields:
        What was found, for each file.

    Raises:
        BundleError: A model does not answer as it did, or there is no bundle.
        MeasurementError: A model cannot be run.
    """
    found = [path for path in _below(folder, "measurement.json") if path.with_name(NAME).is_file()]
    if not found:
        raise BundleError(f"no bundle in {folder}: it has no measurement.json; give a folder that `pick --out` wrote")
    for path in found:
        record = read_record(path.parent)
        arrays = read_arrays(path.parent / "samples.npz") or {}
        for name, said in record.files.items():
            yield _one(path.parent, record, name, said, arrays, timed)


def _one(
    bundle: Path, record: Record, name: str, said: FileRecord, arrays: Mapping[str, NDArray[Any]], timed: bool
) -> Verified:
    runtime = get_runtime(said.target.runtime)
    state = runtime.available()
    if not state.ok:
        return Verified(bundle, name, said, reason=state.reason)
    if state.devices and said.target.device not in state.devices:
        here = f"{said.target.runtime} {state.version} has no device {said.target.device!r} here, only"
        return Verified(bundle, name, said, reason=f"{here} {', '.join(state.devices)}")
    path = bundle / said.file
    if not any(listed_file == said.file or listed_file.startswith(f"{said.file}/") for listed_file in listed(bundle)):
        raise BundleError(
            f"{bundle / NAME}: does not name {said.file}, which the measurement is of; restore the bundle"
        )
    found = Verified(bundle, name, said)
    inputs: tuple[NDArray[Any], ...] = ()
    if record.samples is None:
        found = Verified(bundle, name, said, reason="the bundle has no samples")
    else:
        missing = [key for key in record.samples.inputs if f"input:{key}" not in arrays]
        if missing:
            raise BundleError(f"{bundle / 'samples.npz'}: has no input {missing[0]!r}; restore it from a copy")
        inputs = tuple(arrays[f"input:{key}"] for key in record.samples.inputs)
        expected = arrays.get(f"answer:{name}")
        if expected is None:
            found = Verified(bundle, name, said, reason="the bundle has no answers to its samples")
        else:
            difference = _difference(path, runtime, said, inputs, expected)
            found = Verified(bundle, name, said, difference, len(expected))
    if not timed:
        return found
    with temporary_folder() as held:
        real = keep_inputs([part[:1] for part in inputs], held)
        latency = bench([TimedFile(path, said.target, real)])[0]
    return Verified(bundle, name, said, found.difference, found.samples, latency, found.reason)


def _difference(
    path: Path, runtime: Runtime, said: FileRecord, inputs: tuple[NDArray[Any], ...], expected: NDArray[Any]
) -> float:
    got = predict(path, runtime, said.target, inputs)
    if got.shape != expected.shape:
        raise BundleError(f"{path}: answers {list(got.shape)} to its samples, expected {list(expected.shape)}")
    difference = relative_difference(got, expected)
    if not difference <= said.tolerance:
        raise BundleError(
            f"{path}: its answers differ from those expected by {difference:.2g} of the largest, allowed: "
            f"{said.tolerance:g}; "
            f"it was measured with {said.target.runtime} {said.latency.conditions.get('runtime_version', '')} "
            f"({said.latency.conditions.get('device_name', 'another machine')}), here is {runtime.available().version}"
        )
    return difference


def _below(folder: Path, name: str) -> list[Path]:
    found = [folder / name] if (folder / name).is_file() else []
    for depth in range(1, DEPTH + 1):
        found += sorted(folder.glob("/".join(["*"] * depth) + f"/{name}"))
    return found
