"""The criterion of a study: its channels are rated once, and every process and every later run keeps the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import student_task
from torch import Tensor

from autocompress.errors import StorageError, StudyFileError
from autocompress.search.evaluate.criterion import rated_network
from autocompress.search.evaluate.look import look_at_teacher
from autocompress.search.evaluate.parcel import opening_parcel, unpack
from autocompress.search.identity import check_identity
from autocompress.search.store.importance import FILE, Importance, read_importance, write_importance
from autocompress.search.store.opening import begin_opening
from autocompress.search.store.settings import check_settings, write_settings
from autocompress.spaces.network import Network, look_at_network
from autocompress.studies.study_file import StudyFile
from autocompress.studies.task import PreparedTask, load_task
from autocompress.studies.written import check_effect, written_in


@pytest.fixture(scope="module")
def task(tiny_task: Path) -> PreparedTask:
    return load_task(str(tiny_task)).prepared()


@pytest.fixture(scope="module")
def found(task: PreparedTask) -> Network:
    return look_at_network(task.teacher, task.example_input)


def by(criterion: str, **search: Any) -> StudyFile:
    return StudyFile().changed("space", criterion=criterion).changed("search", **search)


def values(network: Network) -> dict[str, list[float]]:
    return {group.name: group.importance.tolist() for group in network.groups}


def test_a_study_without_a_criterion_has_no_file_and_its_old_importance(
    task: PreparedTask, found: Network, tmp_path: Path
) -> None:
    assert rated_network(found, task, StudyFile(), tmp_path) is found
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("criterion", ["l1", "taylor", "bn_scale", "random"])
def test_what_was_found_first_holds_for_every_process_and_every_later_run(
    task: PreparedTask, found: Network, tmp_path: Path, criterion: str
) -> None:
    driver, worker = tmp_path / "driver", tmp_path / "worker"
    check_identity(driver, task)
    first = rated_network(found, task, by(criterion), driver)
    assert values(first) != values(found) and values(rated_network(found, task, by(criterion), None)) == values(first)
    unpack(worker, opening_parcel(driver))
    check_identity(worker, task, worker=True)
    assert values(rated_network(found, task, by(criterion), worker, worker=True)) == values(first)
    check_identity(driver, task)
    assert values(rated_network(found, task, by(criterion, seed=7), driver)) == values(first), (
        "whatever seed it has now"
    )
    (driver / FILE).unlink()
    with pytest.raises(StorageError, match="is gone"):
        rated_network(found, task, by(criterion), driver, worker=True)
    assert values(rated_network(found, task, by(criterion), driver)) == values(first)


@pytest.mark.parametrize("criterion", ["l1", "taylor", "random", "compared"])
def test_students_of_the_users_own_are_rated_by_the_teachers_criterion(tmp_path: Path, criterion: str) -> None:
    task = student_task.one_student().prepared()
    found = look_at_teacher(task, ())
    check_identity(tmp_path, task)
    first = rated_network(found, task, by(criterion), tmp_path)
    kept = read_importance(tmp_path)
    assert kept is not None
    by_l2, its = values(found.students["plain"]), values(first.students["plain"])
    assert by_l2.keys() == its.keys() and (by_l2 != its or kept.criterion == "l2")
    assert its == {name: kept.channels[name].tolist() for name in its}
    (name,) = its
    weight = task.students["plain"].get_submodule(name).weight
    assert isinstance(weight, Tensor)
    if criterion == "l1":
        rows = weight.detach().abs().flatten(1).sum(1)
        assert np.corrcoef(rows.numpy(), np.array(its[name]))[0, 1] > 0.5
    again = rated_network(found, task, by(criterion), tmp_path, worker=True)
    assert values(again.students["plain"]) == its
    # a study of before, whose students were cut as they were found, goes on so
    teachers = {group.name: kept.channels[group.name] for group in found.groups}
    (tmp_path / "old").mkdir()
    write_importance(tmp_path / "old", Importance(kept.criterion, teachers))
    old = rated_network(found, task, by(criterion), tmp_path / "old", worker=True)
    assert values(old) == values(first) and values(old.students["plain"]) == by_l2


def test_another_order_of_channels_is_refused(task: PreparedTask, found: Network, tmp_path: Path) -> None:
    check_identity(tmp_path, task)
    kept = Importance.of("l1", rated_network(found, task, by("l1"), tmp_path).groups)
    reverse = {name: np.ascontiguousarray(each[::-1]) for name, each in kept.channels.items()}
    write_importance(tmp_path, Importance("l1", reverse))
    with pytest.raises(StorageError, match=r"begun with another importance of channels .* restore its importance.npz"):
        rated_network(found, task, by("l1"), tmp_path)
    write_importance(tmp_path, Importance("l1", {"another": np.ones(3, np.float32)}))
    with pytest.raises(StorageError, match="another network"):
        rated_network(found, task, by("l1"), tmp_path)
    (tmp_path / FILE).write_bytes(b"cut")
    with pytest.raises(StorageError, match="cannot be read"):
        rated_network(found, task, by("l1"), tmp_path)


def test_compared_keeps_the_criterion_whose_student_of_half_the_width_is_best(
    task: PreparedTask, found: Network, tmp_path: Path
) -> None:
    lines: list[str] = []
    first = rated_network(found, task, by("compared"), tmp_path, say=lines.append)
    kept = read_importance(tmp_path)
    assert kept is not None
    looks = dict(part.split() for part in lines[0].rpartition(": ")[2].split(", "))
    assert looks.keys() == {"l2", "l1", "taylor", "bn_scale"}
    assert float(looks[kept.criterion]) == max(map(float, looks.values()))
    assert values(first) == values(rated_network(found, task, by(kept.criterion), None))


def test_a_task_whose_training_data_come_as_a_stream_is_rated_too(tiny_task: Path, found: Network) -> None:
    from torch.utils.data import DataLoader

    task = load_task(str(tiny_task))
    train: Any = task.train
    streamed = replace(task, train=DataLoader(train, batch_size=50)).prepared()
    rated = values(rated_network(found, streamed, by("taylor"), None))
    assert rated != values(found) and all(sum(each) > 0 for each in rated.values())


def test_it_cannot_change_while_a_study_goes_on(tmp_path: Path) -> None:
    write_settings(tmp_path / "study", by("taylor"))
    check_settings(tmp_path / "study", by("taylor").changed("space", keep=("a",)))
    for other in (StudyFile(), by("l1")):
        with pytest.raises(StorageError, match=r"begun with \[space\] criterion = 'taylor'"):
            check_settings(tmp_path / "study", other)
    (tmp_path / "new").mkdir()
    assert not begin_opening(tmp_path / "new", by("taylor"))
    (tmp_path / "new" / FILE).touch()
    assert not begin_opening(tmp_path / "new", by("taylor")) and (tmp_path / "new" / FILE).exists()
    assert begin_opening(tmp_path / "new", by("l1")) and not (tmp_path / "new" / FILE).exists()


def test_it_has_no_effect_where_no_channels_go() -> None:
    check_effect(by("l1"), written_in(by("l1")))
    alone = by("l1").changed("space", axes=("bits", "recovery"))
    with pytest.raises(StudyFileError, match="criterion has no effect"):
        check_effect(alone, written_in(alone))


@pytest.mark.slow
def test_a_search_keeps_it_and_a_recipe_brings_it_along(
    briefly: None, tiny_task: Path, sections: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    import autocompress
    from autocompress.search.bundle.rebuild import rebuild
    from autocompress.search.bundle.recipe import read_recipe

    task = load_task(str(tiny_task))
    front = autocompress.compress(
        task, budget_ms=50.0, trials=3, runs=tmp_path, space={"criterion": "random"}, seed=3, **sections
    )
    kept = read_importance(front.folder)
    narrow = next(entry for entry in front.entries if entry.trial.spec.channels)
    recipe = read_recipe(front.trial(narrow.number).save(tmp_path / "deploy").parent / "recipe.toml")
    assert kept is not None and recipe.criterion == kept.criterion == "random"
    again = rebuild(recipe, tmp_path / "again", task)
    copied = read_importance(tmp_path / "again")
    assert again.files and not again.other
    assert copied is not None and copied.digest == kept.digest
