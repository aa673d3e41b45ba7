"""The gate: the latency and size of a shape, measured on an untrained file before anything is taught."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...compression.student import Student, make_student
from ...errors import StorageError, one_line
from ...evaluators.latency import in_scale
from ...evaluators.measurement import Latency
from ...evaluators.score import file_bytes
from ...files import PARTIAL, disk_errors, read_json, write_json
from ...remarks import remark
from ...spaces.plain import from_plain, to_plain
from ...spaces.spec import StudentSpec
from ...spaces.target import PerTarget
from .context import EvaluationContext
from .job import Clock
from .target_session import TargetSession

CALIBRATION = 8
"""Inputs that calibrate a file which is only timed: latency does not depend on the ranges."""


@dataclass(frozen=True)
class Shape:
    """What was measured of a shape: latency by target, and the size of its largest file."""

    latencies: PerTarget[Latency]
    size_bytes: int


@dataclass(frozen=True)
class ShapeRecord:
    """What is kept of a shape on one target, in the study's folder.

    Attributes:
        spec: The shape; how the student is taught is left out.
        calibration: Fingerprint of the calibration that the latency compares with.
        latency: Of one inference.
        size_bytes: Of the file.
        seconds: That building and measuring it took, by kind of work.
    """

    spec: StudentSpec
    calibration: str
    latency: Latency
    size_bytes: int
    seconds: Mapping[str, float] = field(default_factory=dict)


def time_shape(context: EvaluationContext, spec: StudentSpec, clock: Clock | None = None) -> Shape:
    """Measure the latency and size of a student's shape on all targets that its files are for.

    What was measured before, under the same conditions, is not measured again.

    Args:
        context: What this process has of the study.
        spec: The student; it is not taught.
        clock: Adds up where the time went.

    Raises:
        TrialFailed: The file does not agree with its student.
        ExportError: The network cannot be exported.
        MeasurementError: The file cannot be built or timed.
        StorageError: The disk is full.
    """
    clock = clock or Clock()
    spec = replace(spec, recovery=spec.structure().recovery)  # of teaching, what stays in its file
    student: Student | None = None
    found: dict[str, ShapeRecord] = {}
    for name, session in context.sessions_for(spec).items():
        record = read_shape(shape_path(session, spec), session)
        if record is None:
            with disk_errors(session.folder), tempfile.TemporaryDirectory(prefix=PARTIAL, dir=session.folder) as folder:
                path, spent = Path(folder) / f"model{session.runtime.suffix}", Clock()
                with clock.time("building"), spent.time("building"), context.slices():
                    student = student or make_student(context.parent, spec)
                    session.builder.build(student.module, spec, path, CALIBRATION)
                with clock.time("measuring"), spent.time("measuring"):
                    latency = session.meter.measure([path])[0]
                size = file_bytes(path)
                record = ShapeRecord(spec, session.calibration.fingerprint, latency, size, spent.seconds)
            write_json(shape_path(session, spec), to_plain(record))
        found[name] = record
    latencies = {name: record.latency for name, record in found.items()}
    return Shape(latencies, max(record.size_bytes for record in found.values()))


def shape_path(session: TargetSession, spec: StudentSpec) -> Path:
    """Return where the record of a shape on a target lies."""
    return session.folder / "latency" / f"{spec.shape_key()}.json"


def read_shape(path: Path, session: TargetSession) -> ShapeRecord | None:
    """Return a record that compares with the session's calibration; None where there is none that can be read."""
    try:
        data = read_json(path)
        if data is None:
            return None
        record = from_plain(ShapeRecord, data)
    except (StorageError, ValueError) as error:
        remark(f"{path}: a shape's record that cannot be read ({one_line(error)[:100]}); it is measured again")
        return None
    if record.calibration != session.calibration.fingerprint:
        return None
    return replace(record, latency=in_scale(record.latency, session.calibration))
