"""The runtime does all that runtimes must."""

from __future__ import annotations

from pathlib import Path

from autocompress_numpy_runtime import NumpyRuntime

from autocompress.testing import RuntimeConformance


class TestNumpyRuntime(RuntimeConformance):
    """Runs the conformance suite."""

    def make_runtime(self) -> NumpyRuntime:
        """Return the runtime."""
        return NumpyRuntime()

    def sample_artifact(self, folder: Path) -> Path:
        """Write a small file."""
        request, _, _ = self.sample_student()
        path = folder / "sample.numpy"
        NumpyRuntime().build(request, path)
        return path
