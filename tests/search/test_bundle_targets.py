"""A bundle for one of a study's targets tells of its own file alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from simulated_study import TARGET, write_study

from autocompress.errors import BundleError
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.timing.processes import TimedFile
from autocompress.files import write_bytes
from autocompress.search.bundle.contents import write_bundle
from autocompress.search.bundle.hub import add_hub_files
from autocompress.search.bundle.record import read_record, write_record
from autocompress.search.bundle.scripts import ScriptFacts, infer_script, requirements
from autocompress.search.bundle.verify import verify
from autocompress.search.exported import Exported
from autocompress.search.report.entry import Confirmed
from autocompress.search.report.front import Front
from autocompress.search.report.looks import LongLook, LongLooks
from autocompress.search.store.facts import read_facts, write_facts
from autocompress.search.store.layout import trial_folder
from autocompress.search.store.settings import read_settings, write_settings
from autocompress.search.trial import Trial
from autocompress.spaces.target import Target
from autocompress.studies.preprocessing import Preprocessing

BOTH = (TARGET, "pytorch")
TESTS = {TARGET: 0.85, "pytorch": 0.7}


@pytest.fixture
def front(tmp_path: Path) -> Front:
    """A study whose models have a file for each of two targets: the second is less accurate, and gains less."""
    folder = tmp_path / "runs" / "simulated"
    found = write_study(folder, 8)
    write_settings(folder, read_settings(folder).changed("target", runtime=BOTH))
    trials, looks = list[Trial](), dict[int, Confirmed]()
    for trial in found.trials:
        if not trial.finished:
            continue
        file = trial.measured[TARGET]
        ratios = {name: getattr(file.latency, name) * 1.5 for name in ("ratio", "ratio_low", "ratio_high")}
        there = replace(file, accuracy=file.accuracy - 0.1, latency=replace(file.latency, **ratios))
        trial = replace(trial, measured={TARGET: file, "pytorch": there})
        kept = {name: LongLook("", TESTS[name], trial.measured[name].latency) for name in BOTH}
        looked = LongLooks(BOTH, kept).confirmed
        assert looked is not None
        looks[trial.number] = looked
        trials.append(trial)
        for name in BOTH:
            write_bytes(trial_folder(folder, trial.number) / name / "model.onnx", b"no model")
    return replace(found, trials=tuple(trials), confirmed=looks)


def test_a_bundle_of_one_target_has_the_figures_of_its_own_file(front: Front, tmp_path: Path) -> None:
    entry = front.trial(2).entry
    assert front.teacher is not None
    for name, file in entry.trial.measured.items():
        write_bundle(front, entry, tmp_path / name, only=name)
        record = read_record(tmp_path / name)
        assert list(record.files) == [name]
        assert record.validation.value == record.files[name].validation.value == file.accuracy
        assert record.test is not None and record.test.value == TESTS[name]
        assert record.teacher is not None
        assert record.teacher.value == front.teacher.trial.measured[name].accuracy
        assert record.speed_up == 1 / file.latency.ratio
        card = (tmp_path / name / "README.md").read_text()
        assert f"{1 / file.latency.ratio:.2f} times as fast as the teacher" in card


def test_a_bundle_of_all_targets_has_the_worst_figures_and_the_first_speed_up(front: Front, tmp_path: Path) -> None:
    entry = front.trial(2).entry
    write_bundle(front, entry, tmp_path / "both")
    record, files = read_record(tmp_path / "both"), entry.trial.measured
    assert tuple(record.files) == BOTH
    assert record.validation.value == min(file.accuracy for file in files.values())
    assert record.test is not None and record.test.value == min(TESTS.values())
    assert record.speed_up == 1 / files[TARGET].latency.ratio
    assert f"speed-up over the teacher on {TARGET}" in (tmp_path / "both" / "README.md").read_text()


def test_a_card_promises_no_script_that_is_not_there(front: Front, tmp_path: Path) -> None:
    """AutoCompress writes none for a runtime of a plug-in."""
    own, folder = "own_runtime", front.folder
    write_settings(folder, read_settings(folder).changed("target", runtime=(own, TARGET)))
    trial = next(trial for trial in front.trials if trial.number == 2)
    file = trial.measured[TARGET]
    for measured, there in (({own: file}, False), ({TARGET: file}, True), ({own: file, TARGET: file}, False)):
        for name in measured:
            write_bytes(trial_folder(folder, 2) / name / "model.onnx", b"no model")
        found = replace(front, trials=(replace(trial, measured=measured),), confirmed={})
        out = tmp_path / "-".join(measured)
        write_bundle(found, found.trial(2).entry, out)
        card = (out / "README.md").read_text()
        said = card.partition("## Use it")[2].partition("## Figures")[0]
        assert ("infer.py" in said) == there == ("requirements.txt" in said)
        assert ("is a plug-in" in said) == (own in measured)


def test_files_for_a_gpu_ask_for_the_runtime_that_has_one() -> None:
    facts = ScriptFacts("model.onnx", "", Target(TARGET, "cuda"), "1.31.0", "", Preprocessing(), {"input": "float32"})
    assert "onnxruntime-gpu==1.31.0" in requirements(facts).split()
    assert "onnxruntime==1.31.0" in requirements(replace(facts, target=Target(TARGET))).split()


def test_a_script_is_python_whatever_its_inputs_are_called() -> None:
    inputs = {"price\\unit": "float32", '"""quoted"""': "float32"}
    compile(infer_script(ScriptFacts("model.onnx", "", Target(), "1", "", Preprocessing(), inputs)), "infer.py", "exec")


def test_a_card_says_whether_the_test_split_was_scored(front: Front, tmp_path: Path) -> None:
    for name, found in (("scored", front), ("before", replace(front, confirmed={}))):
        write_bundle(found, found.trial(2).entry, tmp_path / name)
        said = (tmp_path / name / "README.md").read_text()
        assert ("test split was scored once" in said) == (name == "scored")
        assert ("test split | not scored" in said) == (name == "before") == ("was not scored with this model" in said)


def test_an_export_tells_the_teacher_by_the_file_that_it_times(front: Front) -> None:
    """The teacher's worst file is another one: it is for a target that the table has no row of."""
    from autocompress.search.export import _measured_teacher

    assert front.teacher is not None
    files = front.teacher.trial.measured
    for name in BOTH:
        timed = TimedFile(trial_folder(front.folder, 1) / name / "model.onnx", Target(name))
        work: Any = SimpleNamespace(teacher=timed)
        found = _measured_teacher(work, front, [Exported(name, beside=files[name].latency)])
        assert found is not None and found.name == f"teacher on {name}"
        assert found.quality == files[name].accuracy


def test_a_file_for_a_device_that_is_not_here_keeps_no_other_from_being_checked(front: Front, tmp_path: Path) -> None:
    gpu = f"{TARGET}@cuda"
    folder = tmp_path / "both"
    write_bundle(front, front.trial(2).entry, folder)
    record = read_record(folder)
    files = {gpu: replace(record.files[TARGET], target=Target(TARGET, "cuda")), **record.files}
    write_record(folder, replace(record, files=files))
    found = list(verify(folder, timed=False))
    assert [each.target for each in found] == [gpu, *BOTH]
    assert "cuda" in found[0].reason and "no samples" in found[1].reason


def test_inputs_of_a_size_without_channels_are_told_as_no_pictures(front: Front, tmp_path: Path) -> None:
    """`infer.py` takes arrays alone then, and the Hub's tools are told nothing of pictures."""
    facts = read_facts(front.folder)
    write_facts(front.folder, replace(facts, preprocessing=Preprocessing((32, 32))))
    write_bundle(front, front.trial(2).entry, tmp_path / "hub", add_hub_files)
    assert not (tmp_path / "hub" / "preprocessor_config.json").exists()
    card = (tmp_path / "hub" / "README.md").read_text()
    assert "None channels" not in card and "give arrays, prepared alike" in card
    write_facts(front.folder, replace(facts, preprocessing=Preprocessing((32, 32), 3)))
    write_bundle(front, front.trial(2).entry, tmp_path / "pictures", add_hub_files)
    assert (tmp_path / "pictures" / "preprocessor_config.json").exists()
    assert "32 x 32 pixels of 3 channels" in (tmp_path / "pictures" / "README.md").read_text()


def test_a_bundle_does_not_tell_the_name_of_the_machine(front: Front, tmp_path: Path) -> None:
    """It is given away, and what it was measured on is told by its parts."""
    trials = []
    for trial in front.trials:
        measured = {}
        for name, file in trial.measured.items():
            conditions = {**file.latency.conditions, "host": "a-name-of-ours"}
            measured[name] = replace(file, latency=replace(file.latency, conditions=conditions))
        trials.append(replace(trial, measured=measured))
    named = replace(front, trials=tuple(trials), confirmed={})
    write_bundle(named, named.trial(2).entry, tmp_path / "deploy", add_hub_files)
    found = [path for path in (tmp_path / "deploy").rglob("*") if path.is_file()]
    assert len(found) > 8 and not [path.name for path in found if b"a-name-of-ours" in path.read_bytes()]
    assert read_record(tmp_path / "deploy").files[TARGET].latency.conditions["device_name"] == "a simulated CPU"


def test_answers_that_cannot_be_read_as_numbers_are_told_as_such(
    front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same shape is no reason: a machine whose numbers overflow is to be seen."""
    from autocompress.search.bundle import verify as module

    write_bundle(front, front.trial(2).entry, tmp_path / "both")
    said, answers = read_record(tmp_path / "both").files[TARGET], np.ones((8, 10), np.float32)
    monkeypatch.setattr(module, "predict", lambda *_: answers * np.nan)
    with pytest.raises(BundleError, match=r"differ from those expected by inf .*, here is \d"):
        module._difference(tmp_path / "model.onnx", get_runtime(TARGET), said, (answers,), answers)
