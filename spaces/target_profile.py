"""What fewer bits and fewer channels were measured to win on a target, and what follows for a space.

A choice is taken away only where it surely does not pay. What is undecided, or was not measured, stays as the runtime
declares it. Times are those of small networks of one kind of layer each (`evaluators/micronets.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .target import Capabilities

PAYS = 0.97
"""Fewer bits pay below this part of the time of 32 bits; what wins less is within the noise of a search."""
STEPS = (4, 8, 16, 32)
"""The channel multiples that may be told apart."""
MARGIN = 1.1
"""The interval of a ratio that was measured while other work ran is widened by this factor to both sides: ratios of
files that took turns were up to 10 % off beside busy neighbours."""


@dataclass(frozen=True)
class Ratio:
    """A time over another, measured in turns.

    Attributes:
        value: The ratio.
        low: Lower end of its 95 % interval.
        high: Upper end of its 95 % interval.
        disturbed: Whether other work ran meanwhile.
    """

    value: float
    low: float
    high: float
    disturbed: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.value <= self.high < float("inf"):
            raise ValueError(f"{self.value} ({self.low} to {self.high}) is no ratio with its interval")

    def verdict(self, limit: float) -> str:
        """Return "pays" if the ratio is surely at most `limit`, "does not pay" if surely above, else "undecided"."""
        margin = MARGIN if self.disturbed else 1.0
        if self.high * margin <= limit:
            return "pays"
        return "does not pay" if self.low / margin > limit else "undecided"


@dataclass(frozen=True)
class BitsTime:
    """What fewer bits win for one kind of layer.

    Attributes:
        kind: Of the layers.
        bits: Bit-width.
        ratio: Time in `bits` over the time in 32 bits.
        target: Name of the target that it was measured on.
    """

    kind: str
    bits: int
    ratio: Ratio
    target: str = ""

    @property
    def verdict(self) -> str:
        """Whether these bits pay for this kind: "pays", "does not pay" or "undecided"."""
        return self.ratio.verdict(PAYS)


@dataclass(frozen=True)
class ChannelTime:
    """What fewer channels win for one kind of layer.

    Attributes:
        kind: Of the layers.
        bits: Bit-width.
        channels: Channels that fewer are held against.
        step: How many fewer.
        arithmetic: Multiply-accumulates with fewer channels over those with all.
        ratio: Time with fewer channels over the time with all.
        target: Name of the target that it was measured on.
    """

    kind: str
    bits: int
    channels: int
    step: int
    arithmetic: float
    ratio: Ratio
    target: str = ""

    @property
    def verdict(self) -> str:
        """Whether the step wins at least half of what the arithmetic promises."""
        return self.ratio.verdict((1 + self.arithmetic) / 2)


@dataclass(frozen=True)
class TargetProfile:
    """All that was measured of targets.

    Attributes:
        bits: Each kind of layer with its bits occurs once.
        channels: Each kind of layer with its bits and step occurs once.
    """

    bits: tuple[BitsTime, ...] = ()
    channels: tuple[ChannelTime, ...] = ()

    def bits_time(self, kind: str, bits: int) -> BitsTime | None:
        """Return what was measured of these bits, None if nothing was."""
        return next((t for t in self.bits if (t.kind, t.bits) == (kind, bits)), None)

    def channel_time(self, kind: str, bits: int, step: int) -> ChannelTime | None:
        """Return what was measured of this step, None if nothing was."""
        return next((t for t in self.channels if (t.kind, t.bits, t.step) == (kind, bits, step)), None)

    def never_pays(self, kind: str, bits: int) -> bool:
        """Tell whether these bits surely do not pay for layers of this kind."""
        time = self.bits_time(kind, bits)
        return time is not None and time.verdict == "does not pay"

    def multiple(self, kind: str, capabilities: Capabilities) -> int:
        """Return the smallest step of channels that pays for this kind.

        It has to pay in 32 bits and in the fewest bits that such layers may run in.
        """
        return max(self._step(kind, bits, capabilities.channel_multiple) for bits in self.widths(kind, capabilities))

    def widths(self, kind: str, capabilities: Capabilities) -> tuple[int, ...]:
        """Return the bit-widths whose steps count for this kind: 32 and the narrowest that may pay."""
        alive = [b for b in capabilities.latency_bits if b < 32 and not self.never_pays(kind, b)]
        return (32, min(alive)) if alive else (32,)

    def merged(self, other: TargetProfile) -> TargetProfile:
        """Return these times and those of `other`, which count where both have measured the same."""
        bits = {(t.kind, t.bits): t for t in (*self.bits, *other.bits)}
        channels = {(t.kind, t.bits, t.step): t for t in (*self.channels, *other.channels)}
        return TargetProfile(tuple(bits.values()), tuple(channels.values()))

    def undisturbed(self) -> TargetProfile:
        """Return the times that nothing disturbed."""
        return TargetProfile(
            tuple(t for t in self.bits if not t.ratio.disturbed),
            tuple(t for t in self.channels if not t.ratio.disturbed),
        )

    def _step(self, kind: str, bits: int, declared: int) -> int:
        for step in steps(declared):
            time = self.channel_time(kind, bits, step)
            if time is None or time.verdict == "undecided":
                return declared
            if time.verdict == "pays":
                return step
        return declared


def steps(declared: int) -> tuple[int, ...]:
    """Return the multiples that may replace the one a runtime declares, ascending: within half and twice of it."""
    return tuple(step for step in STEPS if declared <= 2 * step and step <= 2 * declared)


def joint_profile(found: Sequence[tuple[Capabilities, TargetProfile]]) -> TargetProfile:
    """Return what holds for all of several targets.

    Bits are as good as on the target that gains most by them, channels as bad as on the one that gains least. Where one
    of the targets has not been measured, nothing is said.

    Args:
        found: The capabilities and the profile of each target.
    """
    if len(found) == 1:
        return found[0][1]
    bits, channels = [], []
    for kind, width in dict.fromkeys((t.kind, t.bits) for _, profile in found for t in profile.bits):
        times = [profile.bits_time(kind, width) for can, profile in found if width in can.latency_bits]
        known = [time for time in times if time is not None]
        if len(known) == len(times):
            bits.append(min(known, key=lambda t: t.ratio.low / (MARGIN if t.ratio.disturbed else 1)))
    for kind, width, step in dict.fromkeys((t.kind, t.bits, t.step) for _, profile in found for t in profile.channels):
        all_steps = [profile.channel_time(kind, width, step) for can, profile in found if width in can.latency_bits]
        told = [time for time in all_steps if time is not None]
        if len(told) == len(all_steps):
            channels.append(max(told, key=lambda t: t.ratio.high))
    return TargetProfile(tuple(bits), tuple(channels))
