"""The space of a study: what its network and its targets allow, found once before anything is searched."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...errors import AutoCompressError, ExportError, MeasurementError, TrialFailed, UsageError, one_line
from ...evaluators.microbenchmarks import Say, study_profile
from ...spaces.axes.patterns import MIN_WEIGHTS, PatternAxis
from ...spaces.context import SpaceContext
from ...spaces.group import LeftOut
from ...spaces.network import Network
from ...spaces.space import Space, build_space
from ...spaces.spec import ADAMW_PART, ADAPTERS, Pattern, Recovery, StudentSpec
from ...spaces.target import PerTarget, joint_capabilities
from ...spaces.target_profile import Ratio, TargetProfile
from ...spaces.union import united
from ...studies.schema import StudySections
from ..evaluate.context import EvaluationContext
from ..evaluate.gate import time_shape
from ..evaluate.target_session import usable_runtime
from ..trial import Trial
from .learning_rate import study_rate

PROFILE_SHARE = 0.15
"""Of the time of a search, what measuring the profiles of its targets may take at most."""
PATTERN_GAIN = 0.97
"""A pattern is offered for latency when the upper end of its ratio to dense is below this."""
RATES = {"unstructured": 0.8, "2:4": 0.5}
"""The part of zeros at which a pattern is tried on the teacher."""


@dataclass(frozen=True)
class PreparedSpace:
    """A space, and what was measured of patterns.

    Attributes:
        space: What is searched.
        pattern_ratios: For each target, the latency of the teacher with each sparsity pattern over the dense one's.
    """

    space: Space
    pattern_ratios: PerTarget[Mapping[str, Ratio]] = field(default_factory=dict)


def prepare_space(
    context: EvaluationContext,
    settings: StudySections,
    say: Say,
    left_s: float | None = None,
    trials: Sequence[Trial] = (),
) -> PreparedSpace:
    """Measure what pays on the targets, and build the space over it.

    What was measured before is taken from the study's folder or the user's cache. The space of a study stays what it
    was: one that was begun without a target profile goes on without it, and its students are taught by the optimizer
    that taught the first of them, whatever a later version would choose.

    Args:
        context: What this process has of the study.
        settings: The study's settings.
        say: Takes a line about what is going on.
        left_s: Seconds of the search, None without an end.
        trials: Of the study, in the order in which they were begun.

    Raises:
        UnknownName: The study names an axis or a layer that does not exist.
        PluginError: An axis cannot be loaded.
        MeasurementError: A target cannot be measured.
    """
    begun = any((context.folder / "trials").glob("*/plan.json"))
    seconds = settings.target.profile_seconds
    seconds = seconds if left_s is None else min(seconds, max(1.0, PROFILE_SHARE * left_s))
    profile = study_profile(
        context.targets,
        context.network.all_layers,
        context.folder,
        seconds,
        begun,
        say,
        context.stop,
        host=context.host,
    )
    ratios = _pattern_ratios(context, say) if PatternAxis.name in settings.space.axes else {}
    paying = tuple(sorted({kind for each in ratios.values() for kind, r in each.items() if r.high < PATTERN_GAIN}))
    taught_by = next((t.spec.recovery.optimizer for t in trials if t.spec.recovery is not None), None)
    laid = lay_context(context.network, settings, profile, paying, taught_by)
    space = build_space(laid, settings.space.axes)
    if settings.recovery.learning_rate is None:
        rate = study_rate(context, space, begun, say, left_s)
        if rate != laid.recovery.learning_rate:
            taught = replace(laid.recovery, learning_rate=rate)
            space = build_space(replace(laid, recovery=taught), settings.space.axes)
    return PreparedSpace(space, ratios)


def space_without_measuring(network: Network, settings: StudySections) -> Space:
    """Return the space of a study as it is before its targets were measured.

    Raises:
        UnknownName: The study names an axis, layer or runtime that does not exist.
        RuntimeUnavailable: A target cannot be used here.
    """
    return build_space(lay_context(network, settings), settings.space.axes)


def lay_context(
    network: Network,
    settings: StudySections,
    profile: TargetProfile | None = None,
    patterns: tuple[str, ...] = (),
    optimizer: str | None = None,
) -> SpaceContext:
    """Return what a space stands on.

    Args:
        network: The teacher's layers and groups.
        settings: The study's settings.
        profile: What was measured to pay.
        patterns: Sparsity patterns that were measured to be faster.
        optimizer: That students of the study were taught by; None where none was.

    Raises:
        UsageError: The network has no place for adapters, which the study asks for.
    """
    taught = settings.recovery
    if ADAPTERS in taught.ways and not network.blocks:
        raise UsageError(
            "[recovery] ways names 'adapters', which lie in parts that a shortcut leads past; the network has none: "
            "remove it"
        )
    optimizer = optimizer or taught.optimizer or ("adamw" if network.norms_layers else "sgd")
    part = ADAMW_PART if optimizer == "adamw" else 1.0
    rate = Recovery.learning_rate if taught.learning_rate is None else taught.learning_rate / part
    found = {t.name: usable_runtime(t).capabilities(t) for t in settings.target.targets()}
    held: dict[str, Any] = taught.held
    joint = joint_capabilities(list(found.values()), settings.target.any_of)
    context = SpaceContext(
        layers=network.layers,
        groups=network.groups,
        capabilities=joint.with_patterns(patterns),
        modules=network.modules,
        targets=found if settings.target.any_of else {},
        keep=frozenset(settings.space.keep),
        min_fraction=settings.space.min_channels_fraction,
        storage_counts=storage_counts(settings),
        bits=settings.space.bits,
        patterns=settings.space.patterns,
        profile=profile,
        recovery=Recovery(
            learning_rate=rate,
            optimizer=optimizer,
            tune=taught.ways[0],
            rank=taught.rank,
            ramp=taught.ramp or "",
            learned_steps=taught.learned_steps,
            **held,
        ),
        held=frozenset(held),
        ways=taught.ways,
        aids=settings.recovery.aids,
        starts=settings.recovery.starts,
        blocks=network.blocks,
        resizings=network.resizings,
        no_sizes=network.no_sizes,
        batch=settings.target.batch,
        tables=network.tables if settings.space.embeddings else (),
        no_tables=network.no_tables if settings.space.embeddings else (),
        recurrent=network.recurrent if settings.space.recurrent else (),
        no_recurrent=network.no_recurrent if settings.space.recurrent else tuple(_unasked(network)),
        float_recurrent=() if settings.space.recurrent else network.recurrent,
    )
    return united(context, network.students, settings.space.embeddings, settings.space.recurrent)


def _unasked(network: Network) -> Iterator[LeftOut]:
    for layer in network.recurrent:
        yield LeftOut(layer.name, "stays in 32 bits: [space] recurrent = true lets bits decide about it")


def storage_counts(settings: StudySections) -> bool:
    """Tell whether the size of files is an objective or a constraint of this study."""
    sizes = {"size_bytes", "compressed_bytes"} & set(settings.search.objectives)
    return bool(sizes) or settings.budget.max_mb is not None or settings.budget.max_size is not None


def _pattern_ratios(context: EvaluationContext, say: Say) -> dict[str, dict[str, Ratio]]:
    """Return what patterns are worth on the teacher, by target and pattern; one that cannot be measured is left out."""
    layers = [layer.name for layer in context.network.layers if layer.weights >= MIN_WEIGHTS]
    found: dict[str, dict[str, Ratio]] = {name: {} for name in context.sessions}
    for kind, rate in RATES.items():
        spec = StudentSpec(patterns=dict.fromkeys(layers, Pattern(kind, rate)))
        try:
            latencies = time_shape(context, spec).latencies
        except (TrialFailed, ExportError, MeasurementError) as failure:
            latencies, why = {}, one_line(failure)
        except (AutoCompressError, OSError):
            raise
        except Exception as fault:  # of these zeros alone, as it would be of a trial
            latencies, why = {}, f"{type(fault).__name__}: {one_line(fault)}"
        if not latencies:
            say(f"the teacher with {kind} zeros cannot be measured, and such zeros are not offered: {why[:160]}")
        for name, latency in latencies.items():
            found[name][kind] = Ratio(latency.ratio, latency.ratio_low, latency.ratio_high, latency.disturbed)
    return found
