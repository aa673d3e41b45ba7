"""What a study measured of its shapes, and the plans that are measured first so that a latency model can be fitted."""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from ...errors import AutoCompressError, ExportError, MeasurementError, TrialFailed, one_line
from ...evaluators.latency_model import UNKNOWN_ERROR, LatencyLearner, LatencyModel
from ...evaluators.microbenchmarks import Say
from ...evaluators.templates import exported_whole
from ...remarks import remark
from ...spaces.axes.registry import SIZES
from ...spaces.axes.size import SizeAxis
from ...spaces.axes.student import TEACHER
from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.spec import PLAIN, StudentSpec
from ...spaces.target import PerTarget
from ...spaces.variables import Number, Option, Value
from ..evaluate.context import EvaluationContext
from ..evaluate.gate import ShapeRecord, read_shape, shape_path, time_shape
from ..evaluate.target_session import TargetSession
from ..feasibility import Limits
from ..propose.encoding import Parameter
from ..propose.profile import ProfileEncoding

TRIES = 30
"""Plans drawn for each that is asked for, at most: small spaces have fewer."""
MOST_SAMPLES = 64
"""More plans than this tell little about a space: plans near the front are worth more then."""
ROLE_SPREAD = 0.5
"""How far a role's level may lie from the width of the whole network, in logarithms."""
FEW = 4
"""A variable with at most so many options is drawn anew; a longer row is gone along by some steps."""


def samples(session: TargetSession) -> list[tuple[StudentSpec, float]]:
    """Return every shape measured on this target so far, with its median latency (ms), the teacher first.

    Only what compares with the present calibration counts, and nothing with adapters, which no prediction knows of.

    Raises:
        StorageError: A file in the study's folder cannot be read.
    """
    found = {StudentSpec(): session.calibration.p50_ms}
    plain = (record for record in _records(session) if record.spec.recovery is None)
    found.update((record.spec, record.latency.p50_ms) for record in plain)
    return list(found.items())


def seconds_of_a_shape(session: TargetSession) -> dict[str, float]:
    """Return the seconds that building and measuring a shape takes on this target, by kind of work.

    They are medians over every shape measured so far; nothing is known before any.

    Raises:
        StorageError: A file in the study's folder cannot be read.
    """
    known = [record.seconds for record in _records(session) if record.seconds]
    return {kind: median(s.get(kind, 0.0) for s in known) for kind in {k for s in known for k in s}}


def held_ratio(session: TargetSession, name: str, limits: Limits) -> float:
    """Return what is held against a target's budget over the median latency, as is usual there.

    It is the median over every shape measured so far, 1 before any; see `Limits.held_ms`.

    Args:
        session: Of the target.
        name: Of the target.
        limits: Of the study.

    Raises:
        StorageError: A file in the study's folder cannot be read.
    """
    return median([limits.held_ms(name, r.latency)[2] / r.latency.p50_ms for r in _records(session)] or [1.0])


def learn_latency(
    context: EvaluationContext, space: Space, seconds: float, say: Say = lambda line: None
) -> PerTarget[LatencyLearner]:
    """Measure some plans on each target, and fit a model of the network's latency there to all that was measured.

    What was measured before costs nothing. A plan that cannot be built or timed is passed over.

    Args:
        context: What this process has of the study.
        space: The space.
        seconds: Spent at most, on each target. Plans whose graph was not exported yet take as much again at most.
        say: Takes a line about each model.

    Raises:
        StorageError: The disk is full, or a file in the study's folder cannot be read.
    """
    targets, students = space.options("target"), space.options("student") or (TEACHER,)
    each_s = (seconds if targets else seconds * len(context.sessions)) / len(students)
    for target, student in itertools.product(targets or ("",), students):
        like = Plan({"student": student, **({"target": target} if target else {})})
        plans = sample_plans(space, MOST_SAMPLES, like=space.repair(like))
        _measure(context, [space.spec(plan) for plan in plans], each_s)
    learners = {n: LatencyLearner(space.context, samples(session)) for n, session in context.sessions.items()}
    for name, learner in learners.items():
        say(describe(name, learner.model))
    return learners


def describe(name: str, model: LatencyModel) -> str:
    """Return one line: how well this target's latencies are predicted."""
    if model.relative_error == UNKNOWN_ERROR and model.rank_correlation == 0:
        return f"latency model of {name}: {model.samples} plans measured, too few to tell how well it predicts"
    return (
        f"latency model of {name}: {model.samples} plans measured; those held out were predicted to within "
        f"{model.relative_error:.1%} (median; nine tenths to within {model.p90_error:.1%}), "
        f"rank correlation {model.rank_correlation:.2f}"
    )


def sample_plans(space: Space, count: int, seed: int = 0, like: Plan | None = None) -> list[Plan]:
    """Return plans that tell most of what latency in this space hangs on; they are not taught.

    A longer list begins with the shorter one. The widest plans in all precisions come first, then the narrowest in the
    fewest bits, soon also in the others, and the smallest inputs alone. Then, over widths that fill the range evenly,
    in turn: one profile of widths in one precision; every variable some steps off on its own; all alike but for one
    variable of few options. The last two let a fit tell apart what uniform plans never do.

    Args:
        space: The space.
        count: Number of plans at most.
        seed: Of the random choices.
        like: The plan that all else is taken from, such as the target that they are for; the teacher if None.
    """
    found: dict[str, Plan] = {}
    for plan in itertools.islice(_design(space, random.Random(seed), like or Plan()), TRIES * count):
        if len(found) == count:
            break
        found.setdefault(space.spec(plan).shape_key(), plan)
    return list(found.values())


def _records(session: TargetSession) -> Iterator[ShapeRecord]:
    for path in sorted((session.folder / "latency").glob("*.json")):
        record = read_shape(path, session)
        if record is not None:
            yield record


def _measure(context: EvaluationContext, specs: Sequence[StudentSpec], seconds: float) -> None:
    # to export a graph takes as long as many measurements, and serves the search later: its time is not theirs
    exported = {PLAIN}
    spent: dict[bool, list[float]] = {True: [], False: []}
    for spec in specs:
        if context.stop():
            return
        if all(read_shape(shape_path(session, spec), session) for session in context.sessions_for(spec).values()):
            continue
        graph = exported_whole(spec.structure())
        its = spent[graph in exported]
        # a plan that would not be done in time is not begun; another one may be
        if sum(its) + median(its or [0.0]) >= seconds:
            continue
        begun = time.monotonic()
        try:
            time_shape(context, spec)
            exported.add(graph)
        except (TrialFailed, ExportError, MeasurementError):
            pass
        except (AutoCompressError, OSError):
            raise
        except Exception as fault:  # of this plan alone, as it would be of a trial
            remark(f"a plan to learn latency from cannot be measured: {type(fault).__name__}: {one_line(fault)}")
        its.append(time.monotonic() - begun)


def _design(space: Space, random_: random.Random, like: Plan) -> Iterator[Plan]:
    from scipy.stats import qmc  # takes a second to import

    bits = space.options("bits") or (32,)
    sized = [variable for axis in SIZES for variable in space.of(axis)]
    low = min((variable.parts[-1] for variable in sized), default=1.0)
    # no width says how small inputs are, and steps from their full size would reach but the next ones
    sizes = {i: _in_turn(len(v.options), random_) for i, v in enumerate(space.network) if v.axis == SizeAxis.name}
    few = [i for i, v in enumerate(space.network) if len(v.options) <= FEW or i in sizes]

    def uniform(width: float, precision: Option) -> Plan:
        return space.uniform({**dict.fromkeys(SIZES, width), "bits": precision}, like)

    for precision in bits:
        yield uniform(1.0, precision)
    narrowest = [uniform(low, precision) for precision in bits]
    yield narrowest.pop()
    yield space.repair(uniform(1.0, bits[0]).changed({v.name: v.options[-1] for v in space.of(SizeAxis.name)}))
    profile = ProfileEncoding(space)
    ranges = profile.latent()
    widths = qmc.Halton(1, scramble=False)
    widths.fast_forward(1)  # the first point is 0
    for i in itertools.count(1):
        width = low + (1 - low) * float(widths.random(1)[0, 0])
        plan = uniform(width, bits[i % len(bits)])
        drawn = {name: _drawn(parameter, random_) for name, parameter in ranges.items()}
        for name, parameter in ranges.items():
            if isinstance(parameter, Number) and name.partition(".")[0] in SIZES and name.endswith(".level"):
                drawn[name] = parameter.clip(width * math.exp(random_.uniform(-ROLE_SPREAD, ROLE_SPREAD)))
        curved = profile.decode(drawn)
        yield space.repair(plan.changed({v.name: curved.choices.get(v.name, v.options[0]) for v in sized}))
        yield _scattered(space, plan, random_, sizes)
        yield _one_changed(space, plan, few, random_)
        while narrowest and i == 2:  # far from most plans: not among the very first
            yield narrowest.pop()


def _in_turn(count: int, random_: random.Random) -> Iterator[int]:
    """Yield the numbers below `count` in a random order, and then in another one, without end."""
    while True:
        yield from random_.sample(range(count), count)


def _drawn(parameter: Parameter, random_: random.Random) -> Value:
    if isinstance(parameter, Number):
        return random_.uniform(parameter.low, parameter.high)
    return random_.choice(parameter.options)


def _scattered(space: Space, plan: Plan, random_: random.Random, in_turn: Mapping[int, Iterator[int]]) -> Plan:
    """Return a plan where every variable is off on its own; sorts of zeros in every second plan.

    Args:
        space: The space.
        plan: What others are off from.
        random_: Decides.
        in_turn: Number of a variable -> the options that it takes, one after the other, in all plans of this kind.
    """
    indices = list(space.indices(plan))
    sparse = random_.random() < 0.5
    for i, variable in enumerate(space.network):
        last = len(variable.options) - 1
        if i in in_turn:
            indices[i] = next(in_turn[i])
        elif len(set(variable.families)) > 1:
            indices[i] = random_.randint(0, last) if sparse else indices[i]
        elif last < FEW:
            indices[i] = random_.randint(0, last)
        else:
            indices[i] = min(last, max(0, indices[i] + random_.randint(-2, 2)))
    return space.assemble(indices, plan)


def _one_changed(space: Space, plan: Plan, few: Sequence[int], random_: random.Random) -> Plan:
    indices = list(space.indices(plan))
    if few:
        at = random_.choice(few)
        indices[at] = random_.choice([k for k in range(len(space.network[at].options)) if k != indices[at]])
    return space.assemble(indices, plan)
