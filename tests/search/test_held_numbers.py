"""Temperature and alpha: numbers that a study holds, or that its search decides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from autocompress.errors import StorageError, StudyFileError, UsageError
from autocompress.search.prepare.space import space_without_measuring
from autocompress.search.store.settings import check_settings, with_earlier_choices, write_settings
from autocompress.spaces.network import look_at_network
from autocompress.spaces.space import Space
from autocompress.studies.study_file import StudyFile
from autocompress.studies.written import check_effect, written_in

NUMBERS = ("temperature", "alpha")


def space_of(settings: StudyFile) -> Space:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(64, 10))
    return space_without_measuring(look_at_network(network.eval(), torch.zeros(1, 3, 6, 6)), settings)


def searched(settings: StudyFile) -> set[str]:
    return {variable.subject for variable in space_of(settings).variables if variable.is_searched}


def test_they_are_held_unless_a_study_asks_for_them() -> None:
    assert not searched(StudyFile()) & set(NUMBERS)
    for key in NUMBERS:
        assert searched(StudyFile().changed("recovery", **{key: "searched"})) & set(NUMBERS) == {key}


def test_all_students_have_a_number_that_is_held() -> None:
    space = space_of(StudyFile().changed("recovery", temperature=2, alpha=0.5))
    taught = space.spec(space.taught).recovery
    assert taught is not None and (taught.temperature, taught.alpha) == (2.0, 0.5)


@pytest.mark.parametrize("value", [0.5, 20, "found", True])
def test_a_temperature_that_cannot_be_is_told_with_those_that_can(value: object) -> None:
    with pytest.raises(UsageError, match=r"temperature = .*; allowed: 'searched' or a number from 1 up to 10"):
        StudyFile().changed("recovery", temperature=value)


def test_numbers_are_searched_only_where_teaching_is() -> None:
    study = StudyFile().changed("space", axes=("channels",)).changed("recovery", alpha="searched")
    with pytest.raises(StudyFileError, match="alpha = \"searched\" has no effect without the axis 'recovery'"):
        check_effect(study, written_in(study))


def test_a_study_whose_version_searched_them_goes_on_so(tmp_path: Path) -> None:
    write_settings(tmp_path, StudyFile())
    file = tmp_path / "study.json"
    old = json.loads(file.read_text())
    for key in NUMBERS:
        del old["recovery"][key]
    file.write_text(json.dumps(old))
    check_settings(tmp_path, StudyFile())
    again, _, _ = with_earlier_choices(tmp_path, StudyFile())
    assert set(NUMBERS) <= searched(again)
    asked, _, _ = with_earlier_choices(tmp_path, StudyFile().changed("recovery", temperature=4.0))
    assert searched(asked) & set(NUMBERS) == {"alpha"}


def test_a_study_goes_on_searching_what_it_searched(tmp_path: Path) -> None:
    write_settings(tmp_path, StudyFile().changed("recovery", alpha="searched"))
    check_settings(tmp_path, StudyFile())
    again, _, _ = with_earlier_choices(tmp_path, StudyFile())
    assert searched(again) & set(NUMBERS) == {"alpha"}


def test_a_number_is_held_or_searched_by_turns_and_never_another_one(tmp_path: Path) -> None:
    """Plans do not name the number that is held: it would become another one in them."""
    study = StudyFile()
    write_settings(tmp_path, study)
    check_settings(tmp_path, study.changed("recovery", temperature="searched"))
    for held, then in ((4.0, 3.0), (2.0, "searched")):
        write_settings(tmp_path, study.changed("recovery", temperature=held))
        with pytest.raises(StorageError, match=r"\[recovery\] temperature"):
            check_settings(tmp_path, study.changed("recovery", temperature=then))


def test_a_study_that_searched_no_teaching_searches_none_now(tmp_path: Path) -> None:
    write_settings(tmp_path, StudyFile().changed("space", axes=("channels",)))
    file = tmp_path / "study.json"
    old = json.loads(file.read_text())
    for key in NUMBERS:
        del old["recovery"][key]
    file.write_text(json.dumps(old))
    again, _, _ = with_earlier_choices(tmp_path, StudyFile())
    assert set(again.recovery.held) == set(NUMBERS)
