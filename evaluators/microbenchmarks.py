"""The profile of a target: which bits and which multiples of channels pay there, by kind of layer.

Micro networks are built and timed side by side for some seconds. What nothing disturbed is kept for later studies; see
`profile_cache`. Imports torch.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import one_line
from ..spaces.layers import Layer
from ..spaces.target import Capabilities, Target
from ..spaces.target_profile import BitsTime, ChannelTime, Ratio, TargetProfile, joint_profile, steps
from ..temporary import temporary_folder
from .micronets import CHANNELS, KINDS, WIDE, MicroFiles, arithmetic
from .profile_cache import ProfileCache
from .runtimes.base import Runtime
from .runtimes.registry import get_runtime
from .timing.host import HERE, TimingHost
from .timing.processes import ProcessTimes, TimedFile, TimingRequest
from .timing.statistics import Estimate, choose_statistic, combine, disturbances, log_ratio

PROFILE_SECONDS = 30.0
"""Seconds of measuring on each target that nothing is known of yet."""
_SECONDS_A_FILE = 0.5

Say = Callable[[str], None]


@dataclass(frozen=True)
class Question:
    """Files of micro networks of one kind that are timed beside the first of them.

    Attributes:
        kind: Of the networks.
        bits: Of each file.
        channels: Of each file.
    """

    kind: str
    bits: tuple[int, ...]
    channels: tuple[int, ...]


def study_profile(
    targets: Sequence[Target],
    layers: Sequence[Layer],
    study_folder: Path,
    seconds: float = PROFILE_SECONDS,
    worker: bool = False,
    say: Say = lambda line: None,
    stop: Callable[[], bool] = lambda: False,
    cache: ProfileCache | None = None,
    host: TimingHost = HERE,
) -> TargetProfile | None:
    """Return what a study's targets can use together, for the kinds of its layers.

    It is the profile that the study was begun with, which lies in its folder; else what the cache has, and what is
    measured now of what that leaves open.

    Args:
        targets: The study's targets.
        layers: The teacher's layers.
        study_folder: The study's folder.
        seconds: Of measuring on each target; 0 measures nothing and does not look into the cache.
        worker: Whether this process works for a driver, which has measured already; it measures and writes nothing.
        say: Gets lines for the user.
        stop: Whether to end early, asked between questions.
        cache: What is kept between studies, by default the user's.
        host: The machine that times files.

    Returns:
        The joint profile, None where nothing is known.

    Raises:
        RuntimeUnavailable: A target's runtime or device cannot be used.
        UnknownName: There is no such runtime.
    """
    cache = cache or ProfileCache(host=host)
    kinds = kinds_by_work(layers)
    found = []
    for target in targets:
        runtime = get_runtime(target.runtime)
        version = runtime.available().version
        own = ProfileCache(study_folder / "profile", host)
        profile = own.read(target, version)
        if profile is None and not worker and seconds > 0:
            known = cache.read(target, version) or TargetProfile()
            profile = measure_profile(runtime, target, kinds, known, seconds, say, stop, host)
            if (undisturbed := profile.undisturbed()) != known:
                cache.write(target, version, undisturbed)
            if not stop():
                own.write(target, version, profile)
        found.append((runtime.capabilities(target), profile or TargetProfile()))
    joint = joint_profile(found)
    return joint if joint != TargetProfile() else None


def kinds_by_work(layers: Sequence[Layer]) -> tuple[str, ...]:
    """Return the kinds of these layers, those with the most multiply-accumulates first."""
    macs: dict[str, int] = {}
    for layer in layers:
        macs[layer.kind] = macs.get(layer.kind, 0) + layer.macs
    return tuple(sorted(macs, key=lambda kind: (-macs[kind], kind)))


def measure_profile(
    runtime: Runtime,
    target: Target,
    kinds: Sequence[str],
    known: TargetProfile | None = None,
    seconds: float = PROFILE_SECONDS,
    say: Say = lambda line: None,
    stop: Callable[[], bool] = lambda: False,
    host: TimingHost = HERE,
) -> TargetProfile:
    """Measure what is not known yet of a target, the most worthwhile first.

    What cannot be built or timed is left open. Nothing is measured with a runtime that cannot run here.

    Args:
        runtime: The target's runtime.
        target: The target.
        kinds: Of layers, the most important first.
        known: What is known already.
        seconds: Of measuring, at most; a question that would take longer is not begun.
        say: Gets lines for the user.
        stop: Whether to end early, asked between questions.
        host: The machine that times files.

    Returns:
        What was known and what was measured.

    Raises:
        RuntimeUnavailable: The target's device is not one of the runtime's.
    """
    profile = known or TargetProfile()
    can = runtime.capabilities(target)
    given_up: set[Question] = set()
    question = next_question(kinds, can, profile)
    if question is None or not runtime.available().ok:
        return profile
    say(f"measuring what bits and channel counts win on {target.name}: at most about {seconds:.0f} s, once")
    started, pace, disturbed = time.monotonic(), 0.0, False
    with temporary_folder() as folder:
        files = MicroFiles(runtime, target, folder)
        while question is not None and not stop():
            # a question that would not be answered in time is not begun: some runtimes build for seconds
            if (spent := time.monotonic() - started) + pace * len(question.bits) > seconds:
                say(f"stopped measuring {target.name} after {spent:.0f} s: what is open stays as declared")
                break
            asked = time.monotonic()
            try:
                answer = _ask(question, files.get, runtime, target, host)
            except Exception as error:  # whatever a runtime's library makes of a network it does not know
                given_up.add(question)
                say(f"{question.kind} layers cannot be measured on {target.name}: {one_line(error)}")
            else:
                profile = profile.merged(answer)
                disturbed = disturbed or answer != answer.undisturbed()
            pace = (time.monotonic() - asked) / len(question.bits)
            question = next_question(kinds, can, profile, given_up)
    if disturbed:
        say(f"other work ran while {target.name} was measured: that counts with a margin, and is done again next time")
    return profile


def next_question(
    kinds: Sequence[str], can: Capabilities, known: TargetProfile, given_up: Collection[Question] = ()
) -> Question | None:
    """Return the most worthwhile question that is open.

    The bits of all kinds come first, then the channels in 32 bits, then those in the fewest bits.

    Args:
        kinds: Of layers, the most important first.
        can: What the target's runtime declares.
        known: What is known already.
        given_up: Questions that have no answer.

    Returns:
        The question, None when all is known.
    """
    present = [kind for kind in kinds if kind in KINDS]
    asked = []
    for kind in present:
        bits = tuple(b for b in sorted(can.latency_bits) if b < 32 and known.bits_time(kind, b) is None)
        asked.append(Question(kind, (32, *bits), (WIDE[kind],) * (len(bits) + 1)))
    for narrow in (False, True):
        for kind in present:
            widths = known.widths(kind, can)
            width = widths[-1] if narrow else widths[0]
            fewer = [CHANNELS - s for s in steps(can.channel_multiple) if known.channel_time(kind, width, s) is None]
            asked.append(Question(kind, (width,) * (len(fewer) + 1), (CHANNELS, *fewer)))
    return next((question for question in asked if len(question.bits) > 1 and question not in given_up), None)


def _ask(
    question: Question,
    file: Callable[[str, int, int], Path],
    runtime: Runtime,
    target: Target,
    host: TimingHost,
) -> TargetProfile:
    variants = list(zip(question.bits, question.channels, strict=True))
    paths = [file(question.kind, bits, channels) for bits, channels in variants]
    ratios = _ratios([TimedFile(path, target) for path in paths], runtime, host)
    bits_times, channel_times = [], []
    for (bits, channels), ratio in zip(variants[1:], ratios, strict=True):
        if channels == question.channels[0]:
            bits_times.append(BitsTime(question.kind, bits, ratio, target.name))
        else:
            promised = arithmetic(question.kind, channels)
            step = CHANNELS - channels
            channel_times.append(ChannelTime(question.kind, bits, CHANNELS, step, promised, ratio, target.name))
    return TargetProfile(tuple(bits_times), tuple(channel_times))


def _ratios(files: Sequence[TimedFile], runtime: Runtime, host: TimingHost) -> list[Ratio]:
    # Times of all but the first file over the first's, in the same rounds of one fresh process; of a second one, twice
    # as long, if the first was disturbed, and of both if that was no better.
    target = files[0].target
    statistic = choose_statistic(target, runtime.synchronous)
    runs: list[ProcessTimes] = []
    disturbed = True
    for attempt in (1, 2):
        request = TimingRequest(
            tuple(files),
            min_rounds=TimingRequest.min_rounds * attempt,
            max_rounds=TimingRequest.max_rounds * attempt,
            max_seconds=_SECONDS_A_FILE * len(files) * attempt,
            seed=attempt,
        )
        run = host.time(request)
        disturbed = bool(disturbances(run, [statistic] * len(files)))
        runs = [*runs, run] if disturbed else [run]
        if not disturbed:
            break
    times = [[statistic.of(model) for model in run.models] for run in runs]
    found = []
    for index in range(1, len(files)):
        estimate = combine([log_ratio(each[index], each[0], statistic.quantile) for each in times])
        found.append(_ratio(estimate, disturbed))
    return found


def _ratio(estimate: Estimate, disturbed: bool) -> Ratio:
    value, low, high = (float(f"{x:.4g}") for x in estimate.interval())
    if not math.isfinite(high):
        raise ValueError("a clock stood still")
    return Ratio(value, low, high, disturbed)
