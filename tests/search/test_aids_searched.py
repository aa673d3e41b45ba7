"""Aids of a study: their weights are decided by the search where a study asks for them, and nowhere else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from autocompress.errors import AutoCompressError
from autocompress.search.prepare.space import space_without_measuring
from autocompress.search.report.html.wording import teaching
from autocompress.spaces.network import look_at_network
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.study_file import StudyFile
from autocompress.studies.written import check_effect, written_in

WEIGHTS = {"recovery:attention_weight", "recovery:hidden_weight", "recovery:relation_weight"}


def space_of(settings: StudyFile) -> Space:
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(64, 10))
    return space_without_measuring(look_at_network(network.eval(), torch.zeros(1, 3, 6, 6)), settings)


def test_a_study_that_asks_for_no_aids_has_the_space_that_it_had() -> None:
    names = {variable.name for variable in space_of(StudyFile()).variables}
    assert "recovery:temperature" in names and not WEIGHTS & names
    assert "_weight" not in StudentSpec(recovery=Recovery()).to_json().replace("feature_weight", "")


def test_aids_that_are_asked_for_are_decided_by_the_search() -> None:
    space = space_of(StudyFile().changed("recovery", aids=["relation", "attention"]))
    assert {v.name for v in space.variables} & WEIGHTS == {"recovery:attention_weight", "recovery:relation_weight"}
    plain = space.spec(space.taught)
    assert plain == StudentSpec(recovery=Recovery()), "the first students are taught without"
    spec = space.spec(space.taught.changed({"recovery:relation_weight": 0.5}))
    assert spec.recovery is not None and spec.recovery.aids == {"relation"}
    assert spec.training_key() != plain.training_key()
    assert ", relation 0.5, " in teaching(spec.recovery)
    untaught = space.repair(Plan({"recovery:relation_weight": 0.5, "recovery:method": "none"}))
    assert space.spec(untaught).recovery is None and "recovery:relation_weight" not in untaught.choices


def test_the_order_in_which_aids_are_named_means_nothing() -> None:
    asked = [StudyFile().changed("recovery", aids=names) for names in (["hidden", "relation"], ["relation", "hidden"])]
    assert asked[0].recovery == asked[1].recovery


def test_aids_without_the_axis_are_refused() -> None:
    settings = StudyFile().changed("recovery", aids=["hidden"]).changed("space", axes=["channels"])
    with pytest.raises(AutoCompressError, match=r"\[recovery\] aids has no effect"):
        check_effect(settings, written_in(settings))
    with pytest.raises(AutoCompressError, match="attention"):
        StudyFile().changed("recovery", aids=["atention"])
