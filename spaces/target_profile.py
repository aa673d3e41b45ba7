"""TargetProfile: what fewer bits and fewer channels were measured to win on a target, and what follows for a space.

A choice is taken away only where it surely does not pay; what is undecided, or was not measured, stays as the runtime
declares it. Times are those of small networks of one kind of layer each (`evaluators/micronets.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

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
    """A time over another, measured in turns, with its 95 % interval. disturbed: other work ran meanwhile."""

    value: float
    low: float
    high: float
    disturbed: bool = False

    def verdict(self, limit: float) -> str:
        """ "pays" if surely at most `limit`, "does not pay" if surely above it, else "undecided"."""
        margin = MARGIN if self.disturbed else 1.0
        if self.high * margin <= limit:
            return "pays"
        return "does not pay" if self.low / margin > limit else "undecided"


@dataclass(frozen=True)
class BitsTime:
    """Time of `kind` layers in `bits` over their time in 32 bits. target: name of the one it was measured on."""

    kind: str
    bits: int
    ratio: Ratio
    target: str = ""

    @property
    def verdict(self) -> str:
        """Whether these bits pay for this kind."""
        return self.ratio.verdict(PAYS)


@dataclass(frozen=True)
class ChannelTime:
    """Time of `kind` layers in `bits` with `step` channels fewer over their time with `channels`. arithmetic: the
    same ratio of their multiply-accumulates. target: name of the one it was measured on."""

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
    """All that was measured; each kind with its bits, and each kind with its bits and step, occurs once."""

    bits: tuple[BitsTime, ...] = ()
    channels: tuple[ChannelTime, ...] = ()

    def bits_time(self, kind: str, bits: int) -> BitsTime | None:
        """What was measured of these bits, if anything."""
        return next((t for t in self.bits if (t.kind, t.bits) == (kind, bits)), None)

    def channel_time(self, kind: str, bits: int, step: int) -> ChannelTime | None:
        """What was measured of this step, if anything."""
        return next((t for t in self.channels if (t.kind, t.bits, t.step) == (kind, bits, step)), None)

    def never_pays(self, kind: str, bits: int) -> bool:
        """Whether these bits surely do not pay for layers of this kind."""
        time = self.bits_time(kind, bits)
        return time is not None and time.verdict == "does not pay"

    def multiple(self, kind: str, capabilities: Capabilities) -> int:
        """The smallest step of channels that pays for this kind, in 32 bits and in the fewest bits it may run in."""
        return max(self._step(kind, bits, capabilities.channel_multiple) for bits in self.widths(kind, capabilities))

    def widths(self, kind: str, capabilities: Capabilities) -> tuple[int, ...]:
        """The bit-widths whose steps count for this kind: 32 and the narrowest that may pay."""
        alive = [b for b in capabilities.latency_bits if b < 32 and not self.never_pays(kind, b)]
        return (32, min(alive)) if alive else (32,)

    def _step(self, kind: str, bits: int, declared: int) -> int:
        for step in steps(declared):
            time = self.channel_time(kind, bits, step)
            if time is None or time.verdict == "undecided":
                return declared
            if time.verdict == "pays":
                return step
        return declared

    def merged(self, other: TargetProfile) -> TargetProfile:
        """These and those of `other`, which count where both have measured the same."""
        bits = {(t.kind, t.bits): t for t in (*self.bits, *other.bits)}
        channels = {(t.kind, t.bits, t.step): t for t in (*self.channels, *other.channels)}
        return TargetProfile(tuple(bits.values()), tuple(channels.values()))

    def undisturbed(self) -> TargetProfile:
        """Those that nothing disturbed."""
        return TargetProfile(
            tuple(t for t in self.bits if not t.ratio.disturbed),
            tuple(t for t in self.channels if not t.ratio.disturbed),
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TargetProfile:
        """The inverse of `to_dict`. Raises KeyError, TypeError or ValueError for anything else."""

        def checked(entry: Mapping[str, Any]) -> dict[str, Any]:
            ratio = Ratio(**entry["ratio"])
            if not 0 < ratio.low <= ratio.value <= ratio.high < float("inf"):
                raise ValueError(f"{ratio} is no ratio with its interval")
            return {**entry, "ratio": ratio}

        return cls(
            tuple(BitsTime(**checked(entry)) for entry in data["bits"]),
            tuple(ChannelTime(**checked(entry)) for entry in data["channels"]),
        )


def steps(declared: int) -> tuple[int, ...]:
    """The multiples that may replace the one a runtime declares, ascending: within half and twice of it."""
    return tuple(step for step in STEPS if declared <= 2 * step and step <= 2 * declared)


def joint_profile(found: Sequence[tuple[Capabilities, TargetProfile]]) -> TargetProfile:
    """What holds for all of several targets: bits are as good as on the target that gains most by them, channels as
    bad as on the one that gains least. Where one of the targets has not been measured, nothing is said."""
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
