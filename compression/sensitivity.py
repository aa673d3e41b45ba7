"""One pass over a teacher: what every decision that its space offers does, alone, to its answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from torch import Tensor, nn

from ..errors import DataError
from ..spaces.axes.base import Ground
from ..spaces.plan import Pattern
from ..spaces.sensitivity import Decision, Sensitivity
from ..spaces.sites import Sites
from ..spaces.space import Space
from .kl_sensitivity import DamageMeter

MIN_INPUTS, MAX_INPUTS = 64, 256
MACS = 20_000_000_000
"""Multiply-accumulates of one pass over the inputs; heavy networks are looked at on fewer inputs, down to the least."""
MOST_COUNTS = 5
"""Channel counts that are measured of one group; the others are interpolated."""
STUDENT_BYTES = 2**28
PACK = 32
"""Decisions that share a pass of the teacher at most; what is ended is kept."""
PACK_MACS = 2_000_000_000_000
"""Multiply-accumulates between two moments at which something is kept: seconds on two cores."""


def measure_sensitivity(
    teacher: nn.Module,
    space: Space,
    inputs: Tensor,
    stop: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda line: None,
    known: Sensitivity | None = None,
    keep: Callable[[Sensitivity], None] = lambda found: None,
) -> Sensitivity:
    """What the decisions that `space` offers do, each alone, to the answers of `teacher` for `inputs` [M, ...].

    Bits of a layer: weights on the grid that training sees (`fake_quant.py`), at 8 bits its inputs too, over the range
    that they have in the teacher; at 16 bits both are rounded to bfloat16. A group's channels: removed as
    `make_student` does, then the statistics of the batch norms behind them estimated anew on the inputs. A pattern:
    the zeros that `make_student` sets. The teacher itself is not changed.

    known: measured before on the same teacher and inputs; what it has is not measured again. keep: called now and then
    with `known` and all that was measured so far.

    Raises:
        Stopped: `stop()` came true. DataError: there are no inputs.
    """
    if not len(inputs):
        raise DataError("sensitivity is measured on calibration inputs, got none: give the task some")
    asked = decisions_of(space)
    found = {} if known is None or known.inputs != len(inputs) else known.decisions()
    full = {group.name: group.channels for group in space.ground.groups}
    found |= {d: 0.0 for d in asked if d.option == full.get(d.owner) and d.kind == "channels"}
    missing = [decision for decision in asked if decision not in found]
    if missing:
        say(f"sensitivity: {len(missing)} decisions on {len(inputs)} inputs")
        meter = DamageMeter(teacher, space.ground.groups, inputs, stop)
        macs = len(inputs) * sum(layer.macs for layer in space.ground.layers)
        most = min(PACK, max(1, PACK_MACS // max(1, macs)))
        for done, pack in _packs(missing, most, meter.bytes):
            found |= meter.measure(pack)
            keep(Sensitivity.of(found, len(inputs)))
            if done < len(missing):
                say(f"sensitivity: {done} of {len(missing)} decisions measured")
    return Sensitivity.of({decision: found[decision] for decision in asked}, len(inputs))


def decisions_of(space: Space) -> tuple[Decision, ...]:
    """The decisions to measure for `space`, in order of execution; groups with their full count first."""
    bits: list[Decision] = []
    others: list[Decision] = []
    order = {layer.name: i for i, layer in enumerate(space.ground.layers)}
    for site in Sites(space):
        counts = [option for option in site.options if isinstance(option, int)]
        if site.kind == "bits":
            bits += [Decision("bits", layer, width) for layer in site.layers for width in counts[1:]]
        elif site.kind == "channels":
            measured = (counts[0], *_spread(counts[1:]))
            others += [Decision("channels", site.owner, count) for count in measured]
        else:
            patterns = [option for option in site.options if isinstance(option, Pattern)]
            others += [Decision("patterns", site.owner, pattern) for pattern in patterns]
    return (*sorted(bits, key=lambda d: order[d.owner]), *others)


def sensitivity_inputs(ground: Ground, calibration: Tensor) -> Tensor:
    """The part of the calibration inputs [M, ...] that a network of these layers is looked at on."""
    macs = max(1, sum(layer.macs for layer in ground.layers))
    return calibration[: min(MAX_INPUTS, max(MIN_INPUTS, MACS // macs))]


def _spread(counts: Sequence[int]) -> tuple[int, ...]:
    """At most MOST_COUNTS of `counts`, descending: the ends and, in equal ratios, what lies between them."""
    if len(counts) <= MOST_COUNTS:
        return tuple(counts)
    ratio = (counts[-1] / counts[0]) ** (1 / (MOST_COUNTS - 1))
    wanted = [counts[0] * ratio**i for i in range(MOST_COUNTS)]
    return tuple(sorted({min(counts, key=lambda c: abs(c - w)) for w in wanted}, reverse=True))


def _packs(missing: Sequence[Decision], most: int, teacher_bytes: int) -> Iterator[tuple[int, list[Decision]]]:
    """(how many are done with it, a pack of `most`); students of fewer channels lie in memory together."""
    students = [d for d in missing if d.kind == "channels"]
    layers = [d for d in missing if d.kind != "channels"]
    done = 0
    for these, size in ((layers, most), (students, min(most, max(1, STUDENT_BYTES // max(1, teacher_bytes))))):
        for at in range(0, len(these), size):
            pack = these[at : at + size]
            done += len(pack)
            yield done, pack
