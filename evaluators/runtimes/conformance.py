"""What every runtime must do, as a test class that a package which brings one runs against itself.

class TestMyRuntime(RuntimeConformance):
    def make_runtime(self): return MyRuntime()
    def sample_artifact(self, folder): return export_something(folder / "sample.mine")
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ...errors import MeasurementError, RuntimeUnavailable
from ...spaces.target import Target
from .base import Runtime

_BITS = {32, 16, 8, 4, 2}
_PATTERNS = {"unstructured", "2:4"}


class RuntimeConformance:
    """Subclass it under a name that begins with Test, and fill in the two hooks; pytest does the rest. A runtime
    that is not available here is skipped, after its `available` was tried."""

    target = Target()

    def make_runtime(self) -> Runtime:
        """The runtime under test."""
        raise NotImplementedError("make_runtime: return your runtime")

    def sample_artifact(self, folder: Path) -> Path:
        """A small file of this runtime with one floating-point input, written into `folder`."""
        raise NotImplementedError("sample_artifact: write a file of your runtime and return its path")

    def test_it_is_a_runtime_with_a_usable_name(self) -> None:
        runtime = self.make_runtime()
        assert isinstance(runtime, Runtime)
        assert runtime.name.isidentifier()
        assert runtime.suffix.startswith(".")

    def test_available_answers_without_raising(self) -> None:
        answer = self.make_runtime().available()
        if answer.ok:
            assert answer.version
            assert answer.devices
        else:
            assert answer.reason
            assert "\n" not in answer.reason

    def test_capabilities_are_within_what_is_allowed(self) -> None:
        offered = self._usable().capabilities(self.target)
        assert 32 in offered.latency_bits
        assert set(offered.latency_bits) | set(offered.storage_bits) <= _BITS
        assert not set(offered.latency_bits) & set(offered.storage_bits)
        assert offered.channel_multiple >= 1
        assert set(offered.patterns) <= _PATTERNS

    def test_a_run_answers_for_each_image_and_the_same_each_time(self, tmp_path: Path) -> None:
        loaded = self._usable().load(self.sample_artifact(tmp_path), self.target)
        array = self._input(loaded.input_shape, loaded.input_dtype)
        first = np.array(loaded.run(array))
        assert len(first) == len(array)
        assert np.isfinite(first).all()
        np.testing.assert_array_equal(first, loaded.run(array))

    def test_two_loads_of_one_file_agree(self, tmp_path: Path) -> None:
        runtime, path = self._usable(), self.sample_artifact(tmp_path)
        one, two = runtime.load(path, self.target), runtime.load(path, self.target)
        array = self._input(one.input_shape, one.input_dtype)
        np.testing.assert_allclose(one.run(array), two.run(array), rtol=1e-5, atol=1e-6)

    def test_inspect_counts_operators(self, tmp_path: Path) -> None:
        counts = self._usable().inspect(self.sample_artifact(tmp_path), self.target)
        assert counts
        assert all(isinstance(name, str) and count > 0 for name, count in counts.items())

    def test_a_missing_file_is_told_in_one_line(self, tmp_path: Path) -> None:
        runtime = self._usable()
        missing = tmp_path / f"missing{runtime.suffix}"
        for verb in (runtime.load, runtime.inspect):
            with pytest.raises(MeasurementError) as caught:
                verb(missing, self.target)
            assert missing.name in str(caught.value)
            assert "\n" not in str(caught.value)

    def test_a_corrupt_file_is_told_in_one_line(self, tmp_path: Path) -> None:
        runtime = self._usable()
        corrupt = tmp_path / f"corrupt{runtime.suffix}"
        corrupt.write_bytes(b"no model at all")
        with pytest.raises(MeasurementError) as caught:
            runtime.load(corrupt, self.target)
        assert corrupt.name in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_an_unknown_device_is_refused(self, tmp_path: Path) -> None:
        runtime, path = self._usable(), self.sample_artifact(tmp_path)
        with pytest.raises(RuntimeUnavailable):
            runtime.load(path, Target(runtime=runtime.name, device="no such device"))

    def _usable(self) -> Runtime:
        runtime = self.make_runtime()
        answer = runtime.available()
        if not answer.ok:
            pytest.skip(answer.reason)
        return runtime

    def _input(self, shape: tuple[int | None, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        sizes = [shape[0] or self.target.batch, *(size or 1 for size in shape[1:])]
        return np.random.default_rng(0).standard_normal(sizes).astype(dtype)
