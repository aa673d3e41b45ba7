"""Control files: what another machine is held against before it measures for a study."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ...compression.student import make_student
from ...errors import StorageError
from ...files import PARTIAL, disk_errors
from ...spaces.axes.bits import FULL
from ...spaces.spec import StudentSpec
from .context import EvaluationContext
from .gate import CALIBRATION


@contextmanager
def control_files(context: EvaluationContext) -> Iterator[Mapping[str, Path]]:
    """Give a file for each target whose latency differs from the teacher's by what its kernels do: it in fewer bits.

    They are gone afterwards. A target that runs 32 bits alone has none, and there are none then.

    Args:
        context: The driver's.

    Yields:
        Target -> file; empty where one of them has none.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    found: dict[str, Path] = {}
    with disk_errors(context.folder):
        place = tempfile.TemporaryDirectory(prefix=PARTIAL, dir=context.folder)
    with place as folder:
        for name, session in context.sessions.items():
            widths = [b for b in session.runtime.capabilities(session.target).runnable_bits if 8 <= b < FULL]
            if not widths:
                break
            spec = StudentSpec(bits={layer.name: min(widths) for layer in context.network.layers})
            path = Path(folder) / f"{name}{session.runtime.suffix}"
            try:
                student = make_student(context.parent, spec)
                with context.slices(), disk_errors(path):
                    session.builder.build(student.module, spec, path, CALIBRATION)
            except StorageError:
                raise
            except Exception:  # whatever a library makes of this network: there is no control then
                break
            found[name] = path
        yield found if len(found) == len(context.sessions) else {}
