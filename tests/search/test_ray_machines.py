"""Which machines of a cluster do jobs, as their figures say."""

from __future__ import annotations

from collections import Counter

import pytest

from autocompress.search.executors.ray_cluster import Node
from autocompress.search.executors.ray_machines import MOST_LOST, Machines
from autocompress.search.executors.ray_pool import Turns
from autocompress.search.executors.ray_timing import RayTimingHost
from autocompress.studies.schema import SearchSection

HEAD = Node("head", "head", 0, 0, False)
BIG, SMALL = Node("big", "big", 16, 2, False), Node("small", "small", 2, 0, False)
TARGET = Node("target", "board", 4, 0, True)


def machines(most: int | None = None, own: bool = False, **search: object) -> Machines:
    said.clear()
    return Machines(SearchSection.model_validate(search), most, own, said.append)


said: list[str] = []


def places(found: Machines, *nodes: Node, **taken: int) -> list[str]:
    return [node.key for node in found.free_places(nodes, lambda node: taken.get(node.key, 0))]


def test_each_machine_has_as_many_jobs_as_it_has_room_for() -> None:
    assert Counter(places(machines(), HEAD, BIG, SMALL)) == {"big": 4, "small": 1}
    assert Counter(places(machines(cpus_per_job=8), BIG, SMALL)) == {"big": 2}
    assert Counter(places(machines(gpus_per_job=0.5), BIG, SMALL)) == {"big": 4}
    assert places(machines(), BIG, SMALL, big=3, small=1) == ["big"]


def test_a_number_of_workers_is_kept_and_shared_out_between_machines() -> None:
    assert places(machines(most=2), BIG, SMALL) == ["big", "small"]
    assert places(machines(most=2), BIG, SMALL, small=1) == ["big"]


@pytest.mark.parametrize("others, trains", [((HEAD, BIG), {"big"}), ((HEAD,), {"target"}), ((), {"target"})])
def test_machines_with_the_hardware_train_only_where_no_others_can(others: tuple[Node, ...], trains: set[str]) -> None:
    assert set(places(machines(), *others, TARGET)) == trains


def test_machines_that_come_and_go_are_told() -> None:
    found = machines()
    found.tell([HEAD, BIG])
    assert not said, "those that are there at first are no news"
    found.tell([HEAD, SMALL])
    assert said == ["machine big is gone: what it did is done again elsewhere", "machine small has joined"]


def test_a_machine_that_loses_one_job_after_the_other_is_left_out_and_the_last_one_ends_the_search() -> None:
    found = machines()
    for _ in range(3 * MOST_LOST):  # now and then, in a long night
        found.lost(BIG, "its process died")
        found.went_well(BIG)
    assert "big" in places(found, BIG, SMALL) and not said
    for _ in range(MOST_LOST):
        found.lost(BIG, "its process died")
    assert set(places(found, HEAD, BIG, SMALL)) == {"small"} and len(said) == 1
    assert found.why_none([HEAD, BIG, SMALL]) == ""
    found.leave(SMALL, "cannot open the study (no module named x)")
    assert "its process died" in found.why_none([HEAD, BIG, SMALL])
    assert found.why_none([HEAD]) == "", "others may join"


def test_a_machine_that_comes_late_times_files_too_and_one_that_left_does_not() -> None:
    first, second, late = (RayTimingHost(None, name) for name in ("board-1", "board-2", "board-3"))
    turns = Turns(first)
    assert turns.take("a") == (0, first) == turns.take("b"), "the only one"
    assert turns.add(second) == 2
    assert [turns.take(each)[1].name for each in ("c", "d", "e")] == ["board-2", "board-2", "board-1"]
    for turn in ("a", "b", "e"):
        turns.give_back(turn)
    turns.leave(1)
    turns.leave(0)
    assert turns.count() == 1 and turns.take("f") == (0, first), "all milliseconds hang on the first one"
    assert turns.add(late) == 2 and turns.take("g") == (2, late), "no number is given twice: workers know them by it"
