"""One pass over a teacher: what every decision that its space offers does, alone, to its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from torch import nn

from ..errors import DataError
from ..spaces.context import SpaceContext
from ..spaces.inputs import Inputs, count_of, rows_of
from ..spaces.sensitivity import Measured, Question, Sensitivity, of_questions, questions_of
from ..spaces.space import Space
from .edits import Parent
from .kl_meter import KLMeter
from .losses import Divergence, categorical_divergence

MIN_INPUTS, MAX_INPUTS = 64, 256
MACS = 20_000_000_000
"""Multiply-accumulates of one pass over the inputs; heavy networks are looked at on fewer inputs, down to the least."""
NUMBERS, FEWEST_INPUTS = 2**26, 8
"""Numbers of the answers to all inputs, and inputs that networks of larger answers are looked at on at least."""
STUDENT_BYTES = 2**28
PACK = 32
"""Decisions that share a pass of the teacher at most; what is ended is kept."""
PACK_MACS = 2_000_000_000_000
"""Multiply-accumulates between two moments at which something is kept: seconds on two cores."""


def measure_sensitivity(
    teacher: nn.Module,
    space: Space,
    inputs: Inputs,
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
    known: Sensitivity | None = None,
    keep: Callable[[Sensitivity], None] = lambda found: None,
    soft: Divergence = categorical_divergence,
    network: str = "",
) -> Sensitivity:
    """Measure what the decisions that `space` offers do, each alone, to the answers of `teacher`.

    Bits of a layer: weights on the grid that training sees (`fake_quant.py`), at 8 bits its inputs too, over the range
    that they have in the teacher; at 16 bits both are rounded to bfloat16. A shape: the student as `make_student` makes
    it, then the statistics of the batch norms behind its first change estimated anew on the inputs. A pattern: the
    zeros that `make_student` sets. The teacher itself is not changed.

    Args:
        teacher: The trained network, in eval mode.
        space: Its decisions.
        inputs: [M, ...] each, calibration inputs.
        stop: Whether to end early, asked between forward passes.
        say: Takes a line about the progress.
        known: Measured before on the same teacher and inputs; what it has is not measured again.
        keep: Called now and then with `known` and all that was measured so far.
        soft: How far answers are from the teacher's.
        network: Name of the network in the space that `teacher` is, where that is one of the user's own.

    Returns:
        The divergences of all decisions of the space that are about this network.

    Raises:
        Stopped: `stop()` came true.
        DataError: There are no inputs.
    """
    if not count_of(inputs):
        raise DataError("sensitivity is measured on calibration inputs, got none: give the task some")
    asked = questions_of(space, network)
    found = {} if known is None or known.inputs != count_of(inputs) else known.known()
    missing = {question: spec for question, (spec, _) in asked.items() if question not in found}
    if missing:
        say(f"sensitivity: {len(missing)} decisions on {count_of(inputs)} inputs")
        context = space.context.only(network)
        meter = KLMeter(Parent.of(teacher, context), inputs, soft, stop, context.capabilities.weight_top)
        macs = count_of(inputs) * sum(layer.macs for layer in context.layers)
        most = min(PACK, max(1, PACK_MACS // max(1, macs)))
        students = [question for question, spec in missing.items() if meter.makes_student(spec)]
        for done, pack in _packs(missing, students, most, meter.bytes):
            for question, nats in meter.measure({question: missing[question] for question in pack}).items():
                found[question] = Measured(question.option, asked[question][1], nats)
            keep(of_questions(found, count_of(inputs)))
            if done < len(missing):
                say(f"sensitivity: {done} of {len(missing)} decisions measured")
    return of_questions({question: found[question] for question in asked}, count_of(inputs))


def sensitivity_inputs(context: SpaceContext, calibration: Inputs, numbers: int = 1) -> Inputs:
    """Return the part of the calibration inputs, [M, ...] each, that a network is looked at on.

    Args:
        context: Its layers.
        calibration: The inputs.
        numbers: That it answers one input with; where they are many, fewer answers tell as much.
    """
    macs = max(1, sum(layer.macs for layer in context.layers))
    count = min(MAX_INPUTS, max(MIN_INPUTS, MACS // macs))
    if count * numbers > NUMBERS:
        count = max(FEWEST_INPUTS, NUMBERS // numbers)
    return rows_of(calibration, slice(0, count))


def _packs(
    missing: Iterable[Question], students: Sequence[Question], most: int, teacher_bytes: int
) -> Iterator[tuple[int, Sequence[Question]]]:
    """Yield (how many are done with it, a pack); those with networks of their own lie in memory together."""
    own = set(students)
    layers = [question for question in missing if question not in own]
    done = 0
    for these, size in ((layers, most), (students, min(most, max(1, STUDENT_BYTES // max(1, teacher_bytes))))):
        for at in range(0, len(these), size):
            pack = these[at : at + size]
            done += len(pack)
            yield done, pack
