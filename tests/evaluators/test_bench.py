"""`autocompress bench`: files side by side, of one runtime or of several, as precise as asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from onnx_models import conv_chain

from autocompress.errors import MeasurementError, UnknownName, UsageError
from autocompress.evaluators.bench import bench, parse_precision, shortfall, timed_files
from autocompress.evaluators.measurement import Latency
from autocompress.evaluators.runtimes.base import Runtime
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.timing.agreed import BY_MEDIANS
from autocompress.evaluators.timing.processes import TimedFile
from autocompress.search.report.front import Front
from autocompress.spaces.plain import from_plain
from autocompress.spaces.target import Target
from autocompress.testing import RuntimeConformance

pytestmark = pytest.mark.xdist_group("latency")

Said = tuple[int, str, str]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return conv_chain(tmp_path_factory.mktemp("bench") / "small.onnx", channels=32, depth=4)


@pytest.fixture(scope="module")
def big(small: Path) -> Path:
    return conv_chain(small.with_name("big.onnx"), channels=64, depth=8)


def test_files_are_compared_with_the_first_and_one_is_named(cli: Callable[..., Said], small: Path, big: Path) -> None:
    code, out, _ = cli("bench", big, small, "--processes", 1, "--max-seconds", 1)
    assert code == 0
    assert "p95" in out and "p99" in out and "of the first" in out and "faster" in out
    assert "ship small.onnx" in out and "times" in out and "as fast as big.onnx" in out
    code, out, _ = cli("bench", small, "--processes", 1, "--max-seconds", 0.3)
    assert code == 0 and "ship" not in out and "of the first:" not in out.partition("per s:")[0]


def test_files_are_scored_where_a_task_is_given(cli: Callable[..., Said], finished: Front, tiny_task: Path) -> None:
    """As anybody recomputes it: the study's own figures are those of the files."""
    assert finished.teacher is not None
    entries = [finished.teacher, next(e for e in finished.entries if e.trial.spec.bits)]
    paths = [next(iter(finished.paths(entry).values())) for entry in entries]
    code, out, _ = cli(
        "bench", *paths, "--task", tiny_task, "--batch", 32, "--processes", 1, "--max-seconds", 0.3, "--json"
    )
    assert code == 0
    for row, entry in zip(json.loads(out), entries, strict=True):
        assert row["accuracy"] == pytest.approx(entry.accuracy, abs=1e-9)


def test_bench_prints_json_with_all_a_script_needs(cli: Callable[..., Said], small: Path) -> None:
    code, out, _ = cli("bench", small, "--json", "--processes", 1, "--max-seconds", 0.3)
    assert code == 0
    (row,) = json.loads(out)
    assert row["file"] == str(small)
    assert (row["runtime"], row["device"]) == ("onnxruntime", "cpu")
    assert row["processes"] >= 1  # one more where the first was disturbed
    assert row["throughput_per_s"] == pytest.approx(1e3 / row["mean_ms"])
    assert "energy_mj" in row
    assert from_plain(Latency, {k: row[k] for k in row if k in Latency.__dataclass_fields__}).p50_ms == row["p50_ms"]


def test_one_file_is_compared_across_runtimes(cli: Callable[..., Said], small: Path) -> None:
    if not get_runtime("openvino").available().ok:
        pytest.skip(get_runtime("openvino").available().reason)
    code, out, _ = cli("bench", small, f"openvino:{small}", "--processes", 1, "--max-seconds", 0.3, "--json")
    assert code == 0
    ours, theirs = json.loads(out)
    assert [ours["runtime"], theirs["runtime"]] == ["onnxruntime", "openvino"]
    assert theirs["conditions"]["runtime_version"] != ours["conditions"]["runtime_version"]
    assert theirs["ratio"] != 1
    assert min(ours["peak_memory_mb"], theirs["peak_memory_mb"]) > 10


@pytest.mark.slow
def test_files_of_every_runtime_here_take_turns_in_one_process(tmp_path: Path, small: Path) -> None:
    """Their libraries must bear each other. What one runtime cannot build for itself is left out."""
    request, _, _ = RuntimeConformance().sample_student()
    files = [TimedFile(small, Target())]
    for name in ("openvino", "pytorch", "executorch", "litert"):
        runtime: Runtime = get_runtime(name)
        if runtime.available().ok:
            path = tmp_path / f"{name}{runtime.suffix}"
            runtime.build(request, path)
            files.append(TimedFile(path, Target(name)))
    for threads, together in ((1, files[:2]), (2, files)):
        asked = [replace(file, target=replace(file.target, threads=threads)) for file in together]
        latencies = bench(asked, processes=1, max_seconds=0.2)
        clock = "cpu" if threads == 1 else "wall"
        said = [latency.conditions["statistic"] for latency in latencies]
        assert all(clock in words or words == BY_MEDIANS for words in said)
        assert [latency.conditions["runtime"] for latency in latencies] == [file.target.runtime for file in together]


def test_the_runtime_follows_from_the_suffix_unless_it_is_named(small: Path) -> None:
    def found(names: list[str], *runtimes: str, device: str | None = None) -> list[str]:
        return [file.target.name for file in timed_files(names, runtimes, device)]

    assert found(["a.onnx", "b.pt2"]) == ["onnxruntime", "pytorch"]
    assert found(["a.pte", "b.tflite"]) == ["executorch", "litert"]
    assert found(["openvino:a.onnx", "a.onnx"]) == ["openvino", "onnxruntime"]
    assert found(["onnxruntime@cuda:a.onnx", "a.onnx"]) == ["onnxruntime@cuda", "onnxruntime"]
    assert found(["a.onnx"], device="cuda") == ["onnxruntime@cuda"]
    assert found(["a.onnx"], "openvino", "onnxruntime") == ["openvino", "onnxruntime"]
    assert found(["a.onnx", "b.pt2"], "openvino", "pytorch") == ["openvino", "pytorch"]
    assert found(["odd.name"], "openvino") == ["openvino"]


def test_a_file_whose_name_has_a_colon_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    conv_chain(Path("openvino:a.onnx"))
    (file,) = timed_files(["openvino:a.onnx"])
    assert (file.path, file.target.runtime) == (Path("openvino:a.onnx"), "onnxruntime")
    assert timed_files([r"C:\models\a.onnx"])[0].target.runtime == "onnxruntime"


@pytest.mark.parametrize(
    ("names", "runtimes", "error", "words"),
    [
        (["a.bin"], (), UsageError, r"'\.bin'.*\.onnx \(onnxruntime\).*RUNTIME:a\.bin"),
        (["a.onnx"], ("pytorch", "litert"), UsageError, r"'\.onnx'.*pytorch"),
        (["opnvino:a.onnx"], (), UnknownName, "did you mean 'openvino'"),
        (["a.onnx"], ("onnxruntim",), UnknownName, "did you mean 'onnxruntime'"),
    ],
)
def test_a_file_that_fits_no_runtime_is_told_in_one_line(
    names: list[str], runtimes: tuple[str, ...], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        timed_files(names, runtimes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "value"), [("2%", 0.02), (" 0.5 %", 0.005), ("0.02", 0.02), ("1e-2", 0.01)])
def test_a_precision_is_a_percentage_or_a_fraction(text: str, value: float) -> None:
    assert parse_precision(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["2", "1", "0", "-1%", "100%", "0%", "nan", "two", "", "%"])
def test_anything_else_is_refused_in_one_line(cli: Callable[..., Said], small: Path, text: str) -> None:
    code, out, err = cli("bench", small, f"--precision={text}")
    assert (code, out) == (2, "")
    assert "precision" in err and "0.02" in err and err.count("\n") == 1


def _latency(spread: float, **changed: object) -> Latency:
    numbers = dict.fromkeys(("p50_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms", "load_ms", "peak_memory_mb"), 1.0)
    ends = {"low_ms": 1 - spread, "high_ms": 1 + spread, "ratio_low": 1 - spread, "ratio_high": 1 + spread}
    latency = Latency(**numbers, **ends, ratio=1.0, samples=1, warmup=1, processes=7, disturbed=False)
    return replace(latency, **changed)  # type: ignore[arg-type]


def test_a_precision_that_was_not_reached_is_told_in_words() -> None:
    assert shortfall([_latency(0.01)], 0.02) == ""
    assert "not reached" in shortfall([_latency(0.03)], 0.02)
    assert shortfall([_latency(0.03), _latency(0.01)], 0.02) == ""  # of several files, their ratios count
    assert "quiet machine" in shortfall([_latency(0), _latency(0.03, disturbed=True)], 0.02)
    assert "more time" in shortfall([_latency(0.03, processes=3)], 0.02)


def test_bench_says_when_the_precision_was_not_reached(cli: Callable[..., Said], small: Path) -> None:
    code, out, err = cli("bench", small, "--precision", "0.1%", "--max-seconds", 0.1)
    assert code == 0
    assert "small.onnx" in out
    assert "not reached" in err and "after 1 process" in err


def test_a_device_that_is_not_there_is_an_error_in_one_line(cli: Callable[..., Said], small: Path) -> None:
    if "cuda" in get_runtime("onnxruntime").available().devices:
        pytest.skip("this machine has onnxruntime-gpu")
    code, out, err = cli("bench", small, "--device", "cuda")
    assert (code, out) == (2, "")
    assert "CUDAExecutionProvider" in err and err.count("\n") == 1


def test_a_missing_file_is_told_before_anything_is_timed(small: Path) -> None:
    files = [TimedFile(small, Target()), TimedFile(small.with_name("missing.onnx"), Target())]
    with pytest.raises(MeasurementError, match=r"missing\.onnx"):
        bench(files)
