"""Target profiles as tests draw them."""

from __future__ import annotations

from hypothesis import strategies as st

from autocompress.evaluators.micronets import CHANNELS, KINDS
from autocompress.spaces.target import Capabilities
from autocompress.spaces.target_profile import BitsTime, ChannelTime, Ratio, TargetProfile

CAN = Capabilities(latency_bits=(32, 8), storage_bits=(16, 4), channel_multiple=16)
SLOW = Ratio(1.31, 1.28, 1.34)
FAST = Ratio(0.36, 0.35, 0.37)
UNSURE = Ratio(0.97, 0.93, 1.01)


@st.composite
def ratios(draw: st.DrawFn) -> Ratio:
    """Draw a ratio with its interval."""
    value, below, above = draw(st.floats(0.05, 5)), draw(st.floats(1, 1.5)), draw(st.floats(1, 1.5))
    return Ratio(value, value / below, value * above, draw(st.booleans()))


@st.composite
def all_profiles(draw: st.DrawFn) -> TargetProfile:
    """Draw some of what can be measured, in any state."""
    pairs = draw(st.lists(st.tuples(st.sampled_from(KINDS), st.sampled_from((16, 8))), unique=True))
    bits = tuple(BitsTime(kind, b, draw(ratios()), "here") for kind, b in pairs)
    asked = st.tuples(st.sampled_from(KINDS), st.sampled_from((32, 8)), st.sampled_from((4, 8, 16, 32)))
    channels = []
    for kind, b, step in draw(st.lists(asked, unique=True)):
        channels.append(ChannelTime(kind, b, CHANNELS, step, (1 - step / CHANNELS) ** 2, draw(ratios()), "here"))
    return TargetProfile(bits, tuple(channels))
