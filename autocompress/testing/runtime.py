"""What every runtime must do, as a test class that a package which brings one runs against itself.

class TestMyRuntime(RuntimeConformance):
    def make_runtime(self): return MyRuntime()
    def sample_artifact(self, folder): return export_something(folder / "sample.mine")
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ..errors import MeasurementError, RuntimeUnavailable
from ..evaluators.runtimes.base import BuildRequest, Runtime
from ..evaluators.size import file_bytes
from ..spaces.target import Target

_BITS = {32, 16, 8, 4, 2}
_PATTERNS = {"unstructured", "2:4"}


class RuntimeConformance:
    """Subclass it under a name that begins with Test, and fill in the two hooks; pytest does the rest. A runtime
    that is not available here is skipped, after its `available` was tried; one that only builds here has its files
    built and not run."""

    target = Target()

    def make_runtime(self) -> Runtime:
        """The runtime under test."""
        raise NotImplementedError("make_runtime: return your runtime")

    def sample_artifact(self, folder: Path) -> Path:
        """A small file of this runtime with one floating-point input, written into `folder`."""
        raise NotImplementedError("sample_artifact: write a file of your runtime and return its path")

    def sample_student(self) -> tuple[BuildRequest, NDArray[Any], NDArray[Any]]:
        """A small student on its way to a file, in 32 bits; inputs [8, ...] and what the student makes of them."""
        import torch

        from ..compression.export import make_template

        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(0)
            student = torch.nn.Sequential(
                torch.nn.Conv2d(3, 16, 3, padding=1),
                torch.nn.ReLU(),
                torch.nn.Conv2d(16, 16, 3, padding=1),
                torch.nn.ReLU(),
                torch.nn.Flatten(),
                torch.nn.Linear(16 * 8 * 8, 10),
            ).eval()
            inputs = torch.randn(64, 3, 8, 8)
            template = make_template(student, torch.zeros(1, 3, 8, 8))
            request = BuildRequest(template.write(student), template.layers, {}, inputs.numpy(), student)
            return request, inputs[:8].numpy(), student(inputs[:8]).numpy()

    def test_it_is_a_runtime_with_a_usable_name(self) -> None:
        runtime = self.make_runtime()
        assert isinstance(runtime, Runtime)
        assert runtime.name.isidentifier()
        assert runtime.suffix.startswith(".")

    def test_available_answers_without_raising(self) -> None:
        answer = self.make_runtime().available()
        if answer.builds:
            assert answer.version
            assert answer.devices
        if not answer.ok:
            assert answer.reason
            assert "\n" not in answer.reason

    def test_capabilities_are_within_what_is_allowed(self) -> None:
        offered = self._building().capabilities(self.target)
        assert 32 in offered.latency_bits
        assert set(offered.latency_bits) | set(offered.storage_bits) <= _BITS
        assert not set(offered.latency_bits) & set(offered.storage_bits)
        assert offered.channel_multiple >= 1
        assert set(offered.patterns) <= _PATTERNS

    def test_it_builds_a_file_in_every_bit_width_it_offers(self, tmp_path: Path) -> None:
        runtime = self._building()
        offered = runtime.capabilities(self.target)
        request, _, _ = self.sample_student()
        for bits in {*offered.latency_bits, *offered.storage_bits} & {32, 16, 8, 4}:
            path = tmp_path / f"bits{bits}{runtime.suffix}"
            asked = {} if bits == 32 else dict.fromkeys(request.layers.values(), bits)
            runtime.build(replace(request, bits=asked), path)
            assert file_bytes(path) > 0

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

    def test_a_built_file_answers_as_its_student(self, tmp_path: Path) -> None:
        runtime = self._usable()
        request, inputs, outputs = self.sample_student()
        path = tmp_path / f"float{runtime.suffix}"
        runtime.build(request, path)
        assert _distance(self._answers(runtime, path, inputs), outputs) < 1e-3
        operators = runtime.inspect(path, self.target)
        assert runtime.remark(operators, [32] * len(request.layers)) == ""

    def test_a_file_of_fewer_bits_answers_nearly_as_its_student_and_runs_what_was_asked(self, tmp_path: Path) -> None:
        runtime = self._usable()
        offered = runtime.capabilities(self.target)
        request, inputs, outputs = self.sample_student()
        for bits in {*offered.latency_bits, *offered.storage_bits} & {16, 8, 4}:
            path = tmp_path / f"bits{bits}{runtime.suffix}"
            runtime.build(replace(request, bits=dict.fromkeys(request.layers.values(), bits)), path)
            near = {16: 0.01, 8: 0.1, 4: 0.6}[bits]
            assert _distance(self._answers(runtime, path, inputs), outputs) < near
            operators = runtime.inspect(path, self.target)
            assert runtime.remark(operators, [bits] * len(request.layers)) == ""

    def test_a_graph_that_is_not_as_asked_is_remarked_on(self, tmp_path: Path) -> None:
        runtime = self._usable()
        if 8 not in runtime.capabilities(self.target).latency_bits:
            pytest.skip("this runtime has no int8 kernels on this target, so none can be missing")
        request, _, _ = self.sample_student()
        path = tmp_path / f"float{runtime.suffix}"
        runtime.build(request, path)
        remark = runtime.remark(runtime.inspect(path, self.target), [8] * len(request.layers))
        assert remark
        assert "\n" not in remark

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

    def _answers(self, runtime: Runtime, path: Path, inputs: NDArray[Any]) -> NDArray[Any]:
        loaded = runtime.load(path, self.target)
        batch = loaded.input_shape[0] or len(inputs)
        parts = [inputs[i : i + batch] for i in range(0, len(inputs), batch)]
        return np.concatenate([loaded.run(part.astype(loaded.input_dtype)) for part in parts])

    def _usable(self) -> Runtime:
        runtime = self.make_runtime()
        answer = runtime.available()
        if not answer.ok:
            pytest.skip(answer.reason)
        return runtime

    def _building(self) -> Runtime:
        runtime = self.make_runtime()
        answer = runtime.available()
        if not answer.builds:
            pytest.skip(answer.reason)
        return runtime

    def _input(self, shape: tuple[int | None, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        sizes = [shape[0] or self.target.batch, *(size or 1 for size in shape[1:])]
        return np.random.default_rng(0).standard_normal(sizes).astype(dtype)


def _distance(got: NDArray[Any], expected: NDArray[Any]) -> float:
    """The largest difference, relative to the largest output."""
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())
