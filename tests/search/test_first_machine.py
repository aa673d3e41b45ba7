"""A study whose files another machine would time than the one that it is calibrated on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from elsewhere import Elsewhere

from autocompress.errors import StorageError
from autocompress.evaluators.agreement import disagreement
from autocompress.search.evaluate.context import EvaluationContext, open_context
from autocompress.search.evaluate.first_machine import check_first_machine, why_not_in_its_place
from autocompress.search.executors.base import ExecutorContext


def opened(given: ExecutorContext, folder: Path, host: Elsewhere) -> EvaluationContext:
    return open_context(given.context.task, given.settings, folder, host=host)


def checked(context: EvaluationContext, host: Elsewhere) -> list[str]:
    """What is said of a machine that would time the files of a study."""
    said: list[str] = []
    sessions = {
        name: replace(session, meter=replace(session.meter, host=host)) for name, session in context.sessions.items()
    }
    check_first_machine(replace(context, host=host, sessions=sessions), said.append)
    return said


def test_another_machine_is_held_against_what_a_control_took_on_the_first(
    opened_context: ExecutorContext, tmp_path: Path
) -> None:
    context = opened(opened_context, tmp_path, Elsewhere("board-1"))
    assert checked(context, Elsewhere("board-1")) == []
    asked = Elsewhere("board-1")
    assert checked(context, asked) == [] and not asked.asked, "it was measured once"
    faster = Elsewhere("board-2", speed=2.0)
    (line,) = checked(context, faster)
    assert "calibrated on board-1; board-2 times its files now, and agrees" in line and faster.asked
    faster.asked.clear()
    assert checked(context, faster) == [] and not faster.asked
    other = Elsewhere("board-3", second=1.3)
    with pytest.raises(StorageError, match="board-3, which would time its files now, measures otherwise") as caught:
        checked(context, other)
    assert "--remeasure" in str(caught.value) and "\n" not in str(caught.value)
    for path in tmp_path.rglob("calibration.json"):
        path.unlink()  # as --remeasure does
    context = opened(opened_context, tmp_path, other)
    assert checked(context, other) == []
    (line,) = checked(context, Elsewhere("board-4", second=1.3))
    assert "calibrated on board-3; board-4 times its files now, and agrees" in line


def test_where_nothing_was_kept_of_the_first_machine_it_is_said(
    opened_context: ExecutorContext, tmp_path: Path
) -> None:
    context = opened(opened_context, tmp_path, Elsewhere("board-1"))  # all that an earlier version did
    other = Elsewhere("board-2", second=1.3)
    (line,) = checked(context, other)
    assert "calibrated on board-1, and board-2 times its files now" in line and not other.asked
    assert not list(tmp_path.rglob("control.json"))


def test_a_machine_that_takes_the_place_of_one_that_died_is_held_against_it(
    opened_context: ExecutorContext, tmp_path: Path
) -> None:
    context = opened(opened_context, tmp_path, Elsewhere("board-1"))
    assert "nothing is known" in why_not_in_its_place(context, Elsewhere("board-2"))
    checked(context, Elsewhere("board-1"))
    faster = Elsewhere("board-2", speed=2.0)
    assert why_not_in_its_place(context, faster) == "" and faster.asked
    assert checked(context, Elsewhere("board-2")) == [], "a later run knows that it agrees"
    assert "a control takes" in why_not_in_its_place(context, Elsewhere("board-3", second=1.3))
    other = Elsewhere("board-4", device="a third CPU")
    assert "a third CPU" in why_not_in_its_place(context, other) and not other.asked


def test_one_look_in_which_other_work_ran_does_not_make_a_machine_another_one(
    opened_context: ExecutorContext, tmp_path: Path
) -> None:
    context = opened(opened_context, tmp_path, Elsewhere("board-1"))
    checked(context, Elsewhere("board-1"))
    assert why_not_in_its_place(context, Elsewhere("board-2", busy=1.2)) == ""
    (line,) = checked(context, Elsewhere("board-3", busy=1.2))
    assert "agrees" in line
    meter = next(iter(context.sessions.values())).meter
    control = tmp_path / "control.onnx"
    first = replace(meter, host=Elsewhere("board-1"))
    assert disagreement(first, Elsewhere("board-4", busy=1.2), control) == ""
    assert "a control takes" in disagreement(first, Elsewhere("board-5", second=1.2), control)


def test_a_study_that_moved_with_its_user_is_told_whose_milliseconds_it_has(opened_context: ExecutorContext) -> None:
    """Machines that are called alike need not be as fast. Nothing is measured for that: a container has many names."""
    context, said = opened_context.context, list[str]()
    check_first_machine(context, said.append)
    assert not said
    sessions = {}
    for name, session in context.sessions.items():
        known = session.calibration
        moved = replace(known, conditions={**known.conditions, "host": "an-old-laptop"})
        sessions[name] = replace(session, meter=replace(session.meter, calibration=moved))
    check_first_machine(replace(context, sessions=sessions), said.append)
    (line,) = said
    assert "calibrated on an-old-laptop" in line and "--remeasure" in line
