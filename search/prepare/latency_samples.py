"""What a study measured of its shapes, and the plans that are measured first so that a latency model can be fitted."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from statistics import median

from ...evaluators.latency_model import UNKNOWN_ERROR, LatencyModel
from ...evaluators.measurement import Latency
from ...spaces.axes.base import Number
from ...spaces.axes.channels import ChannelAxis
from ...spaces.plan import Pattern, Plan
from ...spaces.sites import Sites
from ...spaces.space import Space
from ..evaluate.context import Workbench
from ..evaluate.evaluation import Job, evaluate
from ..evaluate.target_session import Say, Station
from ..propose.by_hand import offered_bits
from ..store.files import read_json
from .probe import PROBE_NUMBER

TRIES = 30
"""Plans drawn for each that is asked for, at most: small spaces have fewer."""
MOST_PROBES = 64
"""More plans than this tell little about a space: plans near the front are worth more then."""


def samples(station: Station) -> list[tuple[Plan, float]]:
    """Every plan measured on this target in its study so far, with its median latency (ms), as far as it compares with
    the present calibration; the teacher first, as it was calibrated. Raises StorageError for a file that is no JSON."""
    found = {Plan(): station.calibration.p50_ms}
    found.update((plan, latency.p50_ms) for plan, latency in _measured(station))
    return list(found.items())


def tail_ratio(station: Station, percentile: int) -> float:
    """What is held against a budget (see `Latency.at`) over the median latency, as is usual on this target: the median
    over every plan measured so far, 1 before any. Raises StorageError for a file that is no JSON."""
    return median([x.at(percentile) / x.p50_ms for _, x in _measured(station)] or [1.0])


def _measured(station: Station) -> Iterator[tuple[Plan, Latency]]:
    for path in sorted((station.folder / "latency").glob("*.json")):
        known = read_json(path)
        # files of versions that did not yet keep the plan are of no use here
        if known is not None and known["calibration"] == station.calibration.fingerprint and "plan" in known:
            yield Plan.from_dict(known["plan"]), Latency.from_dict(known["latency"])


def learn_latency(
    bench: Workbench, seconds: float, say: Say = lambda line: None, stop: Callable[[], bool] = lambda: False
) -> dict[str, LatencyModel]:
    """Target name -> a model of the network's latency there, from all that the study has measured: the probing plans
    first, for at most about `seconds` on each target. What was measured before costs nothing. A plan that cannot be
    built or timed is passed over. stop: whether to end early, asked between plans.

    Raises:
        StorageError: the disk is full, or a file in the study's folder cannot be read.
    """
    plans = probe_plans(bench.space, MOST_PROBES)
    if bench.space.homes:
        for station in bench.stations:
            settled = [bench.space.settled(replace(plan, target=station.name)) for plan in plans]
            _measure(bench, list(dict.fromkeys(settled)), seconds, stop)
    else:
        _measure(bench, plans, seconds * len(bench.stations), stop)
    models = {station.name: LatencyModel.fit(bench.space.ground, samples(station)) for station in bench.stations}
    for name, model in models.items():
        say(describe(name, model))
    return models


def describe(name: str, model: LatencyModel) -> str:
    """One line: how well this target's latencies are predicted."""
    if model.relative_error == UNKNOWN_ERROR and model.rank_correlation == 0:
        return f"latency model of {name}: {model.samples} plans measured, too few to tell how well it predicts"
    return (
        f"latency model of {name}: {model.samples} plans measured; those held out were predicted to within "
        f"{model.relative_error:.1%} (median; nine tenths to within {model.p90_error:.1%}), "
        f"rank correlation {model.rank_correlation:.2f}"
    )


def _measure(bench: Workbench, plans: Sequence[Plan], seconds: float, stop: Callable[[], bool]) -> None:
    started, longest = time.monotonic(), 0.0
    for plan in plans:
        begun = time.monotonic()
        # a plan that would not be done in time is not begun
        if stop() or begun - started + longest > seconds:
            return
        evaluate(bench, Job(PROBE_NUMBER, plan, "gate"))
        longest = max(longest, time.monotonic() - begun)


def probe_plans(space: Space, count: int, seed: int = 0) -> list[Plan]:
    """At most `count` plans that tell most of what latency in this space hangs on, without recovery or target; a
    longer list begins with the shorter one.

    The widest in all precisions and the narrowest in the fewest bits, soon also in the others. Then, over widths that
    fill the range evenly, in turn: one profile of widths in one precision; every group some steps off on its own, every
    region in bits of its own; all alike but for the bits of one region. The last two let a fit tell apart what uniform
    plans never do.
    """
    found: dict[str, Plan] = {}
    for plan in itertools.islice(_design(space, random.Random(seed)), TRIES * count):
        if len(found) == count:
            break
        found.setdefault(plan.shape_key(), plan)
    return list(found.values())


def _design(space: Space, random_: random.Random) -> Iterator[Plan]:
    sites, bits = Sites(space), offered_bits(space)
    channels = ChannelAxis(space.ground)
    low = min((choices[0] / group.channels for group, choices in channels.groups()), default=1.0)
    if not any(axis.name == "width" for axis in space.axes):
        low = 1.0
    for precision in bits:
        yield space.uniform(1.0, precision, None)
    narrowest = [space.uniform(low, precision, None) for precision in bits]
    yield narrowest.pop()
    for i in itertools.count(1):
        width = low + (1 - low) * _van_der_corput(i)
        uniform = space.uniform(width, bits[i % len(bits)], None)
        drawn = {n: random_.uniform(p.low, p.high) for n, p in channels.parameters().items() if isinstance(p, Number)}
        profile = channels.apply(Plan(), drawn | {"width": width}) if low < 1 else Plan()
        yield replace(profile, bits=uniform.bits)
        yield _scattered(sites, uniform, random_)
        yield _one_region(sites, uniform, random_)
        while narrowest and i == 2:  # far from most plans: not among the very first
            yield narrowest.pop()


def _scattered(sites: Sites, plan: Plan, random_: random.Random) -> Plan:
    choices = list(sites.choices(plan))
    sparse = random_.random() < 0.5
    for i, site in enumerate(sites):
        last = len(site.options) - 1
        if site.kind == "channels":
            choices[i] = min(last, max(0, choices[i] + random_.randint(-2, 2)))
        elif site.kind == "bits":
            choices[i] = random_.randint(0, last)
        elif sparse:
            faster = sites.space.ground.capabilities.patterns
            fits = [k for k, o in enumerate(site.options) if isinstance(o, Pattern) and o.kind in faster]
            choices[i] = random_.choice(fits) if fits else 0
    return sites.assemble(choices, plan)


def _one_region(sites: Sites, plan: Plan, random_: random.Random) -> Plan:
    choices = list(sites.choices(plan))
    regions = [i for i, site in enumerate(sites) if site.kind == "bits"]
    if regions:
        at = random_.choice(regions)
        others = [k for k in range(len(sites.all[at].options)) if k != choices[at]]
        choices[at] = random_.choice(others)
    return sites.assemble(choices, plan)


def _van_der_corput(i: int) -> float:
    """The i-th number, from 1, of the sequence in (0, 1) that fills it evenly at every length (base 2)."""
    value, part = 0.0, 0.5
    while i:
        value, i, part = value + part * (i % 2), i // 2, part / 2
    return value
