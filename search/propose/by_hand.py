"""What a user would do by hand: plans that open every study, so that a front shows whether the search earned its
time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from ...spaces.axes.base import Choice, Number, Value
from ...spaces.plan import Plan, Recovery
from ...spaces.space import Space

LADDER = (0.5, 0.75, 0.25)
"""Uniform widths, the middle first: it is the likeliest to give a usable model soon."""


@dataclass(frozen=True)
class Baseline:
    """A plan with the name of what a user would call it, and the latent numbers that stand for it, if any do."""

    name: str
    plan: Plan
    latent: Mapping[str, Value] | None


def baselines(space: Space) -> Iterator[Baseline]:
    """What a user would do by hand, on every target that plans choose from."""
    for baseline in _by_hand(space):
        yield from at_home(space, baseline)


def _by_hand(space: Space) -> Iterator[Baseline]:
    """The teacher as it is and in every plain precision of the target; uniform pruning with recovery, in every
    precision; and the fixed pipeline of tutorials: prune half, fine-tune on labels, quantize, export."""
    precisions = [b for b in (8, 16, 4) if b in offered_bits(space)]
    yield Baseline("teacher", Plan(), None)
    for plain in precisions:
        yield Baseline(
            f"teacher int{plain}" if plain < 16 else "teacher 16 bits", space.uniform(1.0, plain, None), None
        )
    if any(axis.name == "width" and axis.parameters() for axis in space.axes):
        for width in LADDER:
            for bits in (8, 32) if 8 in precisions else (32,):
                name = f"uniform {width:.0%}" + (" int8" if bits == 8 else "")
                yield Baseline(name, space.uniform(width, bits, Recovery()), uniform_latent(space, width, bits))
            if width == LADDER[0] and 8 in precisions:
                yield Baseline("prune, fine-tune, int8", space.uniform(width, 8, Recovery(alpha=0.0)), None)


def at_home(space: Space, baseline: Baseline) -> Iterator[Baseline]:
    """The baseline on every target that plans choose from and that has its precisions."""
    if not space.homes:
        yield baseline
    for index, home in enumerate(space.homes):
        plan = space.settled(replace(baseline.plan, target=home))
        if plan.bits == baseline.plan.bits:  # else this target has no such precision
            latent = None if baseline.latent is None else {**baseline.latent, "target": home}
            named = index == 0 or baseline.name in ("search", "seed")
            name = baseline.name if named else f"{baseline.name}, {home}"
            yield Baseline(name, plan, latent)


def seeds(space: Space) -> Iterator[Baseline]:
    """Plans worth a trial before any sampler knows better; they count as the search's own."""
    lowest = 8 if 8 in offered_bits(space) else 32
    gentle = replace(Recovery(), learning_rate=0.01)
    aware = replace(gentle, quantization_aware=lowest == 8)
    latent = uniform_latent(space, 1.0, lowest, aware)
    if any(axis.name == "recovery" for axis in space.axes):
        plain = uniform_latent(space, 1.0, 32, gentle)
        yield from at_home(space, Baseline("search", space.uniform(1.0, lowest, aware), latent))
        yield from at_home(space, Baseline("search", space.uniform(1.0, 32, gentle), plain))
    else:
        taught = space.default_recovery
        latent = uniform_latent(space, 1.0, lowest, taught)
        yield from at_home(space, Baseline("search", space.uniform(1.0, lowest, taught), latent))


def offered_bits(space: Space) -> tuple[int, ...]:
    """The bit-widths this space can choose from."""
    return next((axis.offered() for axis in space.axes if hasattr(axis, "offered") and axis.name == "bits"), (32,))


def uniform_latent(space: Space, width: float, bits: int, recovery: Recovery | None = None) -> dict[str, Value] | None:
    """The latent numbers of a uniform plan; None where the space has other decisions that it leaves alone."""
    recovery = recovery or space.default_recovery
    known: dict[str, Value] = {
        "width": width,
        "pattern": "dense",
        "temperature": recovery.temperature,
        "alpha": recovery.alpha,
        "learning_rate": recovery.learning_rate,
        "feature_weight": recovery.feature_weight,
        "quantization": "aware" if recovery.quantization_aware else "post_training",
    }
    latent: dict[str, Value] = {}
    for name, parameter in space.latent().items():
        if name.startswith("bits_"):
            frozen = isinstance(parameter, Choice) and str(bits) not in parameter.options
            latent[name] = "32" if frozen else str(bits)
        elif name == "target":
            latent[name] = next(iter(space.homes))
        elif name in known:
            value = known[name]
            latent[name] = max(parameter.low, float(value)) if isinstance(parameter, Number) else value
        else:
            assert isinstance(parameter, Number)
            latent[name] = 0.5 if name == "pattern_rate" else 0.0
    return latent
