"""What every timing host must do, as a test class that whoever brings one runs against it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from ..errors import MeasurementError
from ..evaluators.timing.host import TimingHost
from ..evaluators.timing.processes import TimedFile, TimingRequest
from ..spaces.target import Target

TARGET = Target()
"""ONNX Runtime on the CPU, which every host has."""


class TimingHostConformance:
    """Subclass it under a name that begins with Test and fill in `make_host`; pytest does the rest."""

    def make_host(self) -> TimingHost:
        """Return the host under test."""
        raise NotImplementedError("make_host: return your host")

    @pytest.fixture(scope="class")
    @classmethod
    def files(cls, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
        """Write a small file and a large one, of the same name in two folders."""
        folder = tmp_path_factory.mktemp("timed")
        return _matmul(folder / "small" / "model.onnx", 64), _matmul(folder / "large" / "model.onnx", 1024)

    def test_files_take_turns_and_the_larger_one_takes_longer(self, files: tuple[Path, Path]) -> None:
        """What comes back belongs to the files in their order."""
        host = self.make_host()
        found = host.time(TimingRequest(tuple(TimedFile(path, TARGET) for path in files), max_seconds=0.5))
        small, large = (float(np.median(times.wall_ms)) for times in found.models)
        assert 0 < small < large
        assert all(times.wall_ms.shape == times.cpu_ms.shape for times in found.models)
        turned = host.time(TimingRequest(tuple(TimedFile(path, TARGET) for path in reversed(files)), max_seconds=0.5))
        assert np.median(turned.models[0].wall_ms) > np.median(turned.models[1].wall_ms)

    def test_a_file_that_changed_is_timed_as_it_is_now(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        """Whoever keeps files by their names would time the one of before."""
        host, path = self.make_host(), tmp_path / "model.onnx"
        medians = []
        for source in files:
            path.write_bytes(source.read_bytes())
            found = host.time(TimingRequest((TimedFile(path, TARGET),), max_seconds=0.3))
            medians.append(float(np.median(found.reference.wall_ms)))
        assert medians[0] < medians[1]

    def test_one_content_under_two_names(self, files: tuple[Path, Path], tmp_path: Path) -> None:
        """The teacher's file, and that of the trial which changes nothing of it."""
        host, other = self.make_host(), tmp_path / "teacher.onnx"
        other.write_bytes(files[0].read_bytes())
        for path in (files[0], other):
            assert host.time(TimingRequest((TimedFile(path, TARGET),), max_seconds=0.2)).reference.wall_ms.size

    def test_what_cannot_be_timed_is_a_measurement_error_of_one_line(self, tmp_path: Path) -> None:
        """A file that is none, and one that is missing."""
        host, path = self.make_host(), tmp_path / "model.onnx"
        for content in (None, b"no model"):
            if content is not None:
                path.write_bytes(content)
            with pytest.raises(MeasurementError) as refused:
                host.time(TimingRequest((TimedFile(path, TARGET),), max_seconds=0.1))
            assert "\n" not in str(refused.value)

    def test_its_conditions_name_it_and_stay_the_same(self) -> None:
        """A calibration holds as long as they do."""
        from ..evaluators.timing.machine import fingerprint

        host = self.make_host()
        now = host.conditions(TARGET)
        assert now["host"] == host.name and now["runtime"] == TARGET.runtime and now["logical_cores"] > 0
        assert fingerprint(now) == fingerprint(host.conditions(TARGET))

    def test_it_gives_one_machine_for_a_whole_measurement(self, files: tuple[Path, Path]) -> None:
        """Ratios are of files that took turns on one machine, and figures carry its name."""
        with self.make_host().chosen() as one:
            assert one.conditions(TARGET)["host"] == one.name
            assert one.time(TimingRequest((TimedFile(files[0], TARGET),), max_seconds=0.2)).reference.wall_ms.size

    def test_it_travels_to_workers(self) -> None:
        """Processes that build and train have their files timed there too."""
        host = self.make_host()
        again = self.travelled(host)
        assert again.name == host.name

    def travelled(self, host: TimingHost) -> TimingHost:
        """Return the host as another process gets it. A host of a cluster travels by that cluster's own means."""
        found: TimingHost = pickle.loads(pickle.dumps(host))
        return found


def _matmul(path: Path, width: int) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    path.parent.mkdir(parents=True)
    weight = np.random.default_rng(0).standard_normal((width, width)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "matmul",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, width])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, width])],
        [numpy_helper.from_array(weight, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path
