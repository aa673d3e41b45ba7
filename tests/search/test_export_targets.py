"""One trial for other runtimes: every file is the student, as anybody can check with that runtime alone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from autocompress.evaluators.runtimes.base import Availability
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.search.report.front import Front
from autocompress.spaces.target import Target
from autocompress.studies.task import load_task

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("briefly")]

Said = tuple[int, str, str]
HERE = ("onnxruntime", "openvino", "pytorch", "executorch", "litert")
ELSEWHERE = ("coreml", "tensorrt_rtx")


def names(wanted: tuple[str, ...]) -> list[str]:
    return [name for name in wanted if get_runtime(name).available().builds]


@pytest.fixture(scope="module")
def exported(
    briefly: None, finished: Front, tiny_task: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, dict]:
    """Target -> record, of an int8 trial that was trained."""
    from autocompress.search.export import export

    trial = next(e.trial for e in finished.entries if e.trial.spec.bits and e.trial.spec.recovery)
    out = tmp_path_factory.mktemp("export")
    export(finished.folder, trial.number, names(HERE + ELSEWHERE), out, load_task(str(tiny_task)))
    record = json.loads((out / "export.json").read_text())
    assert record["trial"] == trial.number and all(file["path"] for file in record["files"]), record
    return {file["target"].partition("@")[0]: {**file, "path": out / file["path"]} for file in record["files"]}


def tensors_of(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b"".join(p.read_bytes() for p in path.rglob("*") if p.is_file())


@pytest.mark.parametrize("name", HERE)
def test_a_file_is_its_student_and_scores_what_is_said(name: str, exported: dict[str, dict], tiny_task: Path) -> None:
    if name not in exported:
        pytest.skip(get_runtime(name).available().reason)
    entry = exported[name]
    assert entry["sha256"] == hashlib.sha256(entry["path"].read_bytes()).hexdigest()
    images, labels = load_task(str(tiny_task)).validation.tensors  # type: ignore[union-attr]
    loaded = get_runtime(name).load(entry["path"], Target(name, batch=32))
    batch = loaded.inputs[0].shape[0] or 32
    rows = [images[i : i + batch].numpy() for i in range(0, len(images) - batch + 1, batch)]
    answers = np.concatenate([loaded.run(part).argmax(1) for part in rows])
    right = (answers == labels.numpy()[: len(answers)]).mean()
    assert right == pytest.approx(entry["accuracy"], abs=batch / len(images))
    assert entry["difference"] < (0.15 if entry["bits"] else 1e-3)
    assert entry["agreement"] > 0.9
    assert entry["remark"] == ""
    assert entry["latency"]["p50_ms"] > 0
    assert entry["latency"]["conditions"]["runtime"] == name


@pytest.mark.parametrize("name", ELSEWHERE)
def test_what_cannot_run_here_is_built_and_says_so(name: str, exported: dict[str, dict]) -> None:
    if name not in exported:
        pytest.skip(get_runtime(name).available().reason)
    entry = exported[name]
    assert tensors_of(entry["path"])
    if get_runtime(name).available().ok:
        pytest.skip(f"{name} runs here")
    assert entry["reason"].startswith("not run: ")
    assert entry["accuracy"] is None and entry["latency"] is None and entry["difference"] is None


def test_where_the_teachers_runtime_is_absent_files_stand_beside_each_other(
    finished: Front, tiny_task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study searched on a GPU, say, whose models are exported on a laptop."""
    from autocompress.search.export import export

    absent = get_runtime("onnxruntime")
    if len(wanted := [name for name in ("pytorch", "openvino") if get_runtime(name).available().ok]) < 2:
        pytest.skip("two other runtimes are needed")
    monkeypatch.setattr(type(absent), "available", lambda self: Availability(False, reason="no such device"))
    trial = next(e.trial for e in finished.entries if not e.trial.spec.bits)
    found = export(finished.folder, trial.number, wanted, tmp_path, load_task(str(tiny_task)))
    first, second = (entry.latency for entry in found.files)
    assert first is not None and second is not None and found.teacher is None
    assert first.ratio == 1.0 and second.ratio != 1.0, "the second was timed beside the first"
    assert all(entry.beside is None for entry in found.files), "nobody takes that for the teacher's"


def test_one_target_that_cannot_be_had_does_not_keep_the_others_from_being_built(
    finished: Front, tiny_task: Path, tmp_path: Path, cli: Callable[..., Said]
) -> None:
    missing = next((n for n in ("tensorrt", *HERE, *ELSEWHERE) if not get_runtime(n).available().builds), None)
    if missing is None:
        pytest.skip("every runtime is installed here")
    number = finished.best[0].trial.number
    arguments = ("--trial", number, "--to", f"{missing},onnxruntime", "--out", tmp_path, "--task", tiny_task)
    code, out, err = cli("export", finished.folder, *arguments)
    assert code == 2
    assert missing in err and "not built: " in err and "Traceback" not in err
    assert (tmp_path / "onnxruntime" / "model.onnx").is_file()
    assert "onnxruntime" in out


def test_a_trial_that_is_not_there_is_refused_in_one_line(
    finished: Front, tmp_path: Path, cli: Callable[..., Said]
) -> None:
    code, _, err = cli("export", finished.folder, "--trial", 999, "--to", "onnxruntime", "--out", tmp_path)
    assert code == 2
    assert "no finished trial 999" in err and len(err.strip().splitlines()) == 1
