"""What every runtime must do, as a test class that the package which brings one runs against it.

Example:
    >>> from autocompress.testing import RuntimeConformance
    >>> class TestMyRuntime(RuntimeConformance):
    ...     def make_runtime(self):
    ...         return MyRuntime()
    ...
    ...     def sample_artifact(self, folder):
    ...         return export_something(folder / "sample.mine")
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ..errors import MeasurementError, RuntimeUnavailable
from ..evaluators.layer_shares import profiled_shares
from ..evaluators.runtimes.base import BuildRequest, Runtime
from ..evaluators.runtimes.profiling import ProfilingRuntime
from ..evaluators.score import file_bytes
from ..spaces.target import Target

_BITS = {32, 16, 8, 4, 2}
_PATTERNS = {"unstructured", "2:4"}


class RuntimeConformance:
    """Tests of a runtime, for the package that brings it.

    Subclass it under a name that begins with Test, and fill in the two hooks; pytest does the rest. A runtime that is
    not available here is skipped, after its `available` was tried; one that only builds here has its files built and
    not run.

    Attributes:
        target: Where files run; override it for another device.
    """

    target = Target()

    def make_runtime(self) -> Runtime:
        """Return the runtime under test. Override it."""
        raise NotImplementedError("make_runtime: return your runtime")

    def sample_artifact(self, folder: Path) -> Path:
        """Write a small file of this runtime with one floating-point input, and return it. Override it.

        Args:
            folder: Where it is to lie.
        """
        raise NotImplementedError("sample_artifact: write a file of your runtime and return its path")

    def sample_student(self) -> tuple[BuildRequest, NDArray[Any], NDArray[Any]]:
        """Return a small student on its way to a file, in 32 bits, with inputs and outputs.

        Returns:
            What a runtime builds its file from, inputs [8, ...], and the student's outputs for them.
        """
        return _small_student()

    @pytest.fixture
    def artifact(self, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """Return the sample of this runtime, written once for all tests."""
        self._usable()
        return self._once("sample", lambda: self.sample_artifact(tmp_path_factory.mktemp("sample")))

    @pytest.fixture
    def built(self, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
        """Return what gives the sample student's file with all layers in so many bits, each built once."""
        runtime = self._building()

        def build(bits: int) -> Path:
            request, _, _ = self.sample_student()
            path = tmp_path_factory.mktemp("built") / f"bits{bits}{runtime.suffix}"
            asked = {} if bits == 32 else dict.fromkeys(request.layers.values(), bits)
            runtime.build(replace(request, bits=asked), path)
            return path

        return lambda bits: self._once(f"bits{bits}", lambda: build(bits))

    def test_it_is_a_runtime_with_a_usable_name(self) -> None:
        """It meets the protocol, and its name is an identifier."""
        runtime = self.make_runtime()
        assert isinstance(runtime, Runtime)
        assert runtime.name.isidentifier()
        assert runtime.suffix.startswith(".")

    def test_available_answers_without_raising(self) -> None:
        """It says what version and devices it has, or in one line why it cannot be used."""
        answer = self.make_runtime().available()
        if answer.builds:
            assert answer.version
            assert answer.devices
        if not answer.ok:
            assert answer.reason
            assert "\n" not in answer.reason

    def test_capabilities_are_within_what_is_allowed(self) -> None:
        """It offers 32 bits, and nothing that the project does not know."""
        offered = self._building().capabilities(self.target)
        assert 32 in offered.latency_bits
        assert set(offered.latency_bits) | set(offered.storage_bits) <= _BITS
        assert not set(offered.latency_bits) & set(offered.storage_bits)
        assert offered.channel_multiple >= 1
        assert set(offered.patterns) <= _PATTERNS

    def test_it_builds_a_file_in_every_bit_width_it_offers(self, built: Callable[[int], Path]) -> None:
        """A file can be built in each width, for speed or for size."""
        offered = self._building().capabilities(self.target)
        for bits in {*offered.latency_bits, *offered.storage_bits} & {32, 16, 8, 4}:
            assert file_bytes(built(bits)) > 0

    def test_a_run_answers_for_each_image_and_the_same_each_time(self, artifact: Path) -> None:
        """There is an output for each input, and running again changes nothing."""
        loaded = self._usable().load(artifact, self.target)
        array = self._input(loaded.inputs[0].shape, loaded.inputs[0].dtype)
        first = np.array(loaded.run(array))
        assert len(first) == len(array)
        assert np.isfinite(first).all()
        np.testing.assert_array_equal(first, loaded.run(array))

    def test_two_loads_of_one_file_agree(self, artifact: Path) -> None:
        """Loading a file again changes nothing."""
        runtime = self._usable()
        one, two = runtime.load(artifact, self.target), runtime.load(artifact, self.target)
        array = self._input(one.inputs[0].shape, one.inputs[0].dtype)
        np.testing.assert_allclose(one.run(array), two.run(array), rtol=1e-5, atol=1e-6)

    def test_inspect_counts_operators(self, artifact: Path) -> None:
        """The graph that really runs has operators."""
        counts = self._usable().inspect(artifact, self.target)
        assert counts
        assert all(isinstance(name, str) and count > 0 for name, count in counts.items())

    def test_a_built_file_answers_as_its_student(self, built: Callable[[int], Path]) -> None:
        """In 32 bits, outputs agree within a thousandth of the largest."""
        runtime = self._usable()
        request, inputs, outputs = self.sample_student()
        assert _distance(self._answers(runtime, built(32), inputs), outputs) < 1e-3
        operators = runtime.inspect(built(32), self.target)
        assert runtime.remark(operators, [32] * len(request.layers)) == ""

    def test_a_file_of_fewer_bits_answers_nearly_as_its_student_and_runs_what_was_asked(
        self, built: Callable[[int], Path]
    ) -> None:
        """With fewer bits, outputs are near, and nothing is remarked on."""
        runtime = self._usable()
        offered = runtime.capabilities(self.target)
        request, inputs, outputs = self.sample_student()
        for bits in {*offered.latency_bits, *offered.storage_bits} & {16, 8, 4}:
            near = {16: 0.01, 8: 0.1, 4: 0.6}[bits]
            assert _distance(self._answers(runtime, built(bits), inputs), outputs) < near
            operators = runtime.inspect(built(bits), self.target)
            assert runtime.remark(operators, [bits] * len(request.layers)) == ""

    def test_a_graph_that_is_not_as_asked_is_remarked_on(self, built: Callable[[int], Path]) -> None:
        """A float graph where int8 was asked for does not go unnoticed."""
        runtime = self._usable()
        if 8 not in runtime.capabilities(self.target).latency_bits:
            pytest.skip("this runtime has no int8 kernels on this target, so none can be missing")
        request, _, _ = self.sample_student()
        remark = runtime.remark(runtime.inspect(built(32), self.target), [8] * len(request.layers))
        assert remark
        assert "\n" not in remark

    def test_a_profile_names_the_heaviest_layer(self, tmp_path: Path) -> None:
        """Where the runtime offers profiles, shares sum to 1, all layers are the student's, and the heaviest leads."""
        runtime = self._usable()
        if not isinstance(runtime, ProfilingRuntime):
            pytest.skip("this runtime offers no profiles")
        request, heaviest = _lopsided_student()
        for bits in {*runtime.capabilities(self.target).latency_bits} & {32, 16, 8}:
            path = tmp_path / f"lopsided{bits}{runtime.suffix}"
            asked = {} if bits == 32 else dict.fromkeys(request.layers.values(), bits)
            runtime.build(replace(request, bits=asked, target_batch=self.target.batch), path)
            shares = profiled_shares(runtime, path, self.target, request.calibration, request.layers)
            if shares is None:
                pytest.skip("this runtime offers no profiles on this device")
            assert shares.named + sum(shares.other.values()) == pytest.approx(1)
            assert {*shares.layers, *(n for part in shares.together for n in part.layers)} <= {*request.layers.values()}
            assert max(shares.layers, key=lambda name: shares.layers[name]) == heaviest

    def test_a_missing_file_is_told_in_one_line(self, tmp_path: Path) -> None:
        """A missing file is a MeasurementError that names it."""
        runtime = self._usable()
        missing = tmp_path / f"missing{runtime.suffix}"
        for verb in (runtime.load, runtime.inspect):
            with pytest.raises(MeasurementError) as caught:
                verb(missing, self.target)
            assert missing.name in str(caught.value)
            assert "\n" not in str(caught.value)

    def test_a_corrupt_file_is_told_in_one_line(self, tmp_path: Path) -> None:
        """A corrupt file is a MeasurementError that names it."""
        runtime = self._usable()
        corrupt = tmp_path / f"corrupt{runtime.suffix}"
        corrupt.write_bytes(b"no model at all")
        with pytest.raises(MeasurementError) as caught:
            runtime.load(corrupt, self.target)
        assert corrupt.name in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_an_unknown_device_is_refused(self, artifact: Path) -> None:
        """An unknown device is RuntimeUnavailable, and no run elsewhere."""
        runtime = self._usable()
        with pytest.raises(RuntimeUnavailable):
            runtime.load(artifact, Target(runtime=runtime.name, device="no such device"))

    def _answers(self, runtime: Runtime, path: Path, inputs: NDArray[Any]) -> NDArray[Any]:
        loaded = runtime.load(path, self.target)
        batch = loaded.inputs[0].shape[0] or len(inputs)
        parts = [inputs[i : i + batch] for i in range(0, len(inputs), batch)]
        return np.concatenate([loaded.run(part.astype(loaded.inputs[0].dtype)) for part in parts])

    def _once(self, name: str, write: Callable[[], Path]) -> Path:
        # kept by the class: pytest makes an instance for each test, and no fixtures of a class's scope in instances
        kept: dict[str, Path] | None = vars(type(self)).get("_kept")
        if kept is None:
            kept = {}
            type(self)._kept = kept  # type: ignore[attr-defined]
        if name not in kept:
            kept[name] = write()
        return kept[name]

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


@functools.cache
def _small_student() -> tuple[BuildRequest, NDArray[Any], NDArray[Any]]:
    # an export takes seconds, and no runtime changes what it is given
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


@functools.cache
def _lopsided_student() -> tuple[BuildRequest, str]:
    # a student with nearly all of its work in one layer, and that layer's name
    import torch

    from ..compression.export import make_template

    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        student = torch.nn.Sequential(
            torch.nn.Conv2d(3, 64, 1),
            torch.nn.ReLU(),
            torch.nn.Conv2d(64, 64, 5, padding=2),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
            torch.nn.Linear(64, 10),
        ).eval()
        template = make_template(student, torch.zeros(1, 3, 16, 16))
        inputs = torch.randn(8, 3, 16, 16).numpy()
        return BuildRequest(template.write(student), template.layers, {}, inputs, student), "2"


def _distance(got: NDArray[Any], expected: NDArray[Any]) -> float:
    # the largest difference, relative to the largest output
    assert got.shape == expected.shape
    return float(np.abs(got - expected).max() / np.abs(expected).max())
