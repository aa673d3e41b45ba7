"""The machine that a study is calibrated on, and another one that would take its place in a later run.

Machines that are called alike may differ in what the quantized kernels take. So the ratio of a control to the teacher
is kept with the calibration, and a machine of another name is held against it before it measures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import StorageError
from ...evaluators.agreement import ControlRatio, control_ratio, held_against, tells_nothing
from ...evaluators.timing.host import Replaceable, ThisMachine, TimingHost
from ...files import is_trouble, read_object, write_json
from ...spaces.plain import from_plain, to_plain
from ..store.layout import target_folder
from .context import EvaluationContext
from .control import control_files
from .target_session import TargetSession

Say = Callable[[str], None]


@dataclass(frozen=True)
class KnownControl:
    """What is kept of a control.

    Attributes:
        measured: What it takes on the machine that the study is calibrated on.
        agree: Names of other machines that were seen to agree with that.
    """

    measured: ControlRatio
    agree: tuple[str, ...] = ()


def check_first_machine(context: EvaluationContext, say: Say) -> None:
    """Hold the machine that times files against the one that the study is calibrated on, where it is another one.

    One that takes its place later, while the study is open, is held against it likewise, and left out if it differs.

    On that one itself, what is needed for that in a later run is measured, once. Where files are timed on the driver's
    own machine, another name is said and no more: a container has one each time, and a study moves with its user.

    Args:
        context: The driver's, with the calibrations that the study has.
        say: Takes a line about what was found, or cannot be known.

    Raises:
        StorageError: The machine measures otherwise; or the disk cannot be written.
        MeasurementError: The control cannot be timed.
    """
    name = context.host.name
    if isinstance(context.host, ThisMachine):
        for first in sorted({_calibrated_on(session) for session in context.sessions.values()} - {"", name}):
            say(
                f"this study was calibrated on {first}, and {name} times its files now: if that is another machine, "
                "milliseconds are still those of the first (ratios are not), and --remeasure measures all anew"
            )
        return
    known = {target: _read(context.folder, target, session) for target, session in context.sessions.items()}
    own = {t: s for t, s in context.sessions.items() if _calibrated_on(s) == name and known[t] is None}
    others = {t: s for t, s in context.sessions.items() if _calibrated_on(s) not in ("", name)}
    others = {t: s for t, s in others.items() if (kept := known[t]) is None or name not in kept.agree}
    for first in sorted({_calibrated_on(s) for t, s in others.items() if known[t] is None}):
        say(
            f"this study was calibrated on {first}, and {name} times its files now: it is called alike, and nothing is "
            "known by which to tell whether it measures alike; figures carry the name of the machine that timed them"
        )
    others = {t: s for t, s in others.items() if known[t] is not None}
    if own or others:
        with control_files(context) as controls:
            _keep(context, own, controls)
            _compare(context, others, known, controls, say)
    if isinstance(context.host, Replaceable):
        context.host.judged_by(lambda machine: why_not_in_its_place(context, machine))


def why_not_in_its_place(context: EvaluationContext, machine: TimingHost) -> str:
    """Return why a machine cannot time files in place of one that died while the study is open; empty where it can.

    Args:
        context: The driver's, whose study is calibrated.
        machine: The machine.

    Raises:
        MeasurementError: The control cannot be timed.
        TimingHostLost: The machine is gone, too.
        StorageError: The disk cannot be read or written.
    """
    for session in context.sessions.values():
        there = replace(session.meter, host=machine)
        if not there.is_current():
            return there.what_changed()
    known = {target: _read(context.folder, target, session) for target, session in context.sessions.items()}
    with control_files(context) as controls:
        for target, session in context.sessions.items():
            kept = known[target]
            if kept is None or target not in controls:
                return "nothing is known by which to tell whether it measures alike"
            found, why = held_against(session.meter, machine, controls[target], kept.measured)
            if why:
                return why
            if found.host not in (kept.measured.host, *kept.agree):
                _write(context.folder, target, replace(kept, agree=(*kept.agree, found.host)))
    return ""


def _keep(context: EvaluationContext, own: Mapping[str, TargetSession], controls: Mapping[str, Path]) -> None:
    for target, session in own.items():
        if target in controls:
            measured = control_ratio(session.meter, context.host, controls[target])
            _write(context.folder, target, KnownControl(measured))


def _compare(
    context: EvaluationContext,
    others: Mapping[str, TargetSession],
    known: Mapping[str, KnownControl | None],
    controls: Mapping[str, Path],
    say: Say,
) -> None:
    name = context.host.name
    for target, session in others.items():
        kept = known[target]
        if kept is None or target not in controls:
            continue
        _, why = held_against(session.meter, context.host, controls[target], kept.measured)
        first = kept.measured.host
        if not why:
            say(f"this study was calibrated on {first}; {name} times its files now, and agrees with it on a control")
            _write(context.folder, target, replace(kept, agree=(*kept.agree, name)))
        elif tells_nothing(why):
            say(f"this study was calibrated on {first}, and {name} times its files now: {why}")
        else:
            raise StorageError(
                f"{context.folder} was calibrated on {first}, and {name}, which would time its files now, measures "
                f"otherwise: {why}. Have {first} back, measure all students anew with --remeasure, or use --fresh"
            )


def _calibrated_on(session: TargetSession) -> str:
    """Return the name of the machine that a target was calibrated on; empty where that was not kept."""
    return str(session.calibration.conditions.get("host") or "")


def _path(folder: Path, target: str) -> Path:
    return target_folder(folder, target) / "control.json"


def _read(folder: Path, target: str, session: TargetSession) -> KnownControl | None:
    """Return what is known of a target's control; None where that is nothing, or of an earlier calibration."""
    try:
        kept = read_object(_path(folder, target))
        known = None if kept is None else from_plain(KnownControl, kept)
    except (StorageError, ValueError) as error:
        if is_trouble(error.__cause__):
            raise
        return None  # it is measured anew
    return known if known is not None and known.measured.host == _calibrated_on(session) else None


def _write(folder: Path, target: str, known: KnownControl) -> None:
    write_json(_path(folder, target), to_plain(known))
