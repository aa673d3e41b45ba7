"""Sensitivities are measured once for a teacher and its data, and `autocompress sensitivity` shows them."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from forwards import forwards_counted

from autocompress.cli.sensitivity import sensitivity as command
from autocompress.errors import UsageError
from autocompress.search.prepare.sensitivities import sensitivity_cache, study_sensitivity
from autocompress.search.store.settings import write_settings
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.network import look_at_network
from autocompress.spaces.plain import from_plain
from autocompress.spaces.sensitivity import Sensitivity
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.target import Capabilities
from autocompress.studies.checkpoint import save_weights
from autocompress.studies.study_file import StudyFile
from autocompress.studies.task import PreparedTask, load_task

CAN = Capabilities(latency_bits=(32, 16, 8), storage_bits=(4,), channel_multiple=8)


@pytest.fixture
def task(tiny_task: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PreparedTask:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    return load_task(str(tiny_task)).prepared()


def space_over(task: PreparedTask, bits: tuple[int, ...] | None = None) -> Space:
    found = look_at_network(task.teacher, task.example_input)
    context = SpaceContext(found.layers, found.groups, CAN, found.modules, storage_counts=True, bits=bits)
    return build_space(context, ("channels", "bits"))


def test_it_is_measured_once(task: PreparedTask, tmp_path: Path) -> None:
    space = space_over(task)
    first = study_sensitivity(task, space)
    folder = sensitivity_cache().folder
    assert folder == tmp_path / "cache" / "sensitivity"
    with forwards_counted() as ran:
        assert study_sensitivity(task, space) == first
    assert not ran
    (file,) = folder.iterdir()
    file.write_text(file.read_text()[:-20])
    assert study_sensitivity(task, space) == first, "a corrupt file is measured again"
    assert sensitivity_cache().read(file.stem) is not None


def test_another_weight_or_input_is_measured_anew(task: PreparedTask) -> None:
    from dataclasses import replace

    space = space_over(task)
    study_sensitivity(task, space)
    teacher = copy.deepcopy(task.teacher)
    with torch.no_grad():
        next(teacher.parameters()).view(-1)[0] += 1e-3
    calibration = task.calibration.clone()
    calibration[0, 0, 0, 0] += 1e-3
    for other in (replace(task, teacher=teacher), replace(task, calibration=calibration)):
        with forwards_counted() as ran:
            study_sensitivity(other, space)
        assert ran
    assert len(list(sensitivity_cache().folder.iterdir())) == 3


def test_only_what_is_missing_is_measured(task: PreparedTask) -> None:
    lines: list[str] = []
    small = study_sensitivity(task, space_over(task, bits=(8,)), say=lines.append)
    both = study_sensitivity(task, space_over(task, bits=(8, 4)), say=lines.append)
    new = both.known().keys() - small.known().keys()
    assert {question.option for question in new} == {4}, "the same layers at 4 bits"
    assert lines[-1] == f"sensitivity: {len(new)} decisions on 256 inputs"
    space = space_over(task, bits=(8,))
    with forwards_counted() as ran:
        assert study_sensitivity(task, space) == small
    assert not ran and {q.option for q in small.known() if q.name.startswith("bits:")} == {8}


def test_the_table_names_every_layer_and_group(tiny_task: Path, task: PreparedTask, tmp_path: Path) -> None:
    said = CliRunner().invoke(command, ["--task", str(tiny_task)], catch_exceptions=False)
    assert said.exit_code == 0
    data = json.loads(CliRunner().invoke(command, ["--task", str(tiny_task), "--json"]).stdout)
    found = from_plain(Sensitivity, data)
    assert {name.partition(":")[0] for name in found.rows} >= {"bits", "channels"} and found.inputs == 256
    for name in found.rows:
        assert f" {name.partition(':')[2]} " in said.stdout
    for words in ("in nats", "256 calibration inputs", "do not add up"):
        assert words in " ".join(said.stdout.split())


def test_the_folder_of_a_study_brings_its_teacher(task: PreparedTask, tiny_task: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "tiny"
    write_settings(folder, StudyFile(name="tiny"))
    teacher = copy.deepcopy(task.teacher)
    with torch.no_grad():
        next(teacher.parameters()).mul_(0.5)
    save_weights(teacher, folder / "teacher.safetensors")
    with pytest.raises(UsageError, match="name it with --task"):
        CliRunner().invoke(command, [str(folder)], catch_exceptions=False)
    its = CliRunner().invoke(command, [str(folder), "--task", str(tiny_task), "--json"], catch_exceptions=False)
    other = CliRunner().invoke(command, ["--task", str(tiny_task), "--json"], catch_exceptions=False)
    assert json.loads(its.stdout).keys() == json.loads(other.stdout).keys() and its.stdout != other.stdout
    assert not (sensitivity_cache().folder.parent / "teachers").exists(), "nothing was trained"
