"""A residual network on paper: its layers, its groups of channels, and what each layer costs on a device."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from autocompress.spaces.context import SpaceContext
from autocompress.spaces.groups import Group
from autocompress.spaces.layers import Layer
from autocompress.spaces.target import Capabilities
from autocompress.spaces.variables import Variable

from .landscape import Floats, Ints, paper_group

STAGES = ((64, 1024), (128, 256), (256, 64), (512, 16))
"""(channels, positions of the map) of each stage."""
SHARES = (0.25, 0.25, 0.3, 0.2)
"""The part of the blocks that each stage has."""
BITS = (32, 16, 8)
SPEED = {32: 1.0, 16: 0.75, 8: 0.55}
"""Time of a multiply-accumulate by bits."""
RAGGED = 0.08
"""More time for a channel count off a multiple of 32, for each end of a layer."""
STEP = 16
TEACHER_MS = 10.0


def paper_network(decisions: int) -> SpaceContext:
    """Return a stem, blocks of two convolutions in four stages, and a classifier.

    It has four residual streams, one inner group for each block, and a choice of bits for each of five regions.

    Args:
        decisions: All of these together, 13 at least.
    """
    blocks = decisions - len(STAGES) - 5
    counts = [max(1, round(share * blocks)) for share in SHARES]
    counts[2] += blocks - sum(counts)
    raw: list[tuple[str, int, int, int, int]] = [("stem", 3, 64, 3, STAGES[0][1])]
    streams: list[list[tuple[str, str]]] = [[("stem", "out")]]
    inner: list[tuple[str, int, tuple[tuple[str, str], ...]]] = []
    wide = STAGES[0][0]
    for stage, ((channels, area), count) in enumerate(zip(STAGES, counts, strict=True)):
        if stage:
            streams.append([])
        for block in range(count):
            a, b = f"stage{stage}.{block:02}.conv1", f"stage{stage}.{block:02}.conv2"
            raw += [(a, wide, channels, 3, area), (b, channels, channels, 3, area)]
            streams[stage - (stage > 0 and block == 0)].append((a, "in"))
            streams[stage].append((b, "out"))
            inner.append((a, channels, ((a, "out"), (b, "in"))))
            wide = channels
    raw.append(("classifier", wide, 1000, 1, 1))
    streams[-1].append(("classifier", "in"))
    last = len(raw) - 1
    layers = tuple(
        Layer(name, "conv" if k > 1 else "linear", i / last, n * m * k * k, n * m * k * k * area, area, (m, n, k, k))
        for i, (name, n, m, k, area) in enumerate(raw)
    )
    depth = {layer.name: layer.depth for layer in layers}
    groups: list[Group] = []
    for (channels, _), sides in zip(STAGES, streams, strict=True):
        first = next(name for name, side in sides if side == "out")
        groups.append(paper_group(first, channels, depth[first], "stream", tuple(sides)))
    groups += [paper_group(name, channels, depth[name], "inner", sides) for name, channels, sides in inner]
    capabilities = Capabilities(BITS, (), STEP)
    return SpaceContext(layers, tuple(sorted(groups, key=lambda g: g.depth)), capabilities, min_fraction=0.1)


class PaperDevice:
    """What the layers cost.

    They cost multiply-accumulates by bits, more for channel counts off a multiple of 32, and something for every call
    and for every border between two precisions. Neighbours' widths multiply, so costs do not add up over variables.
    The teacher takes TEACHER_MS.
    """

    def __init__(self, context: SpaceContext, variables: Sequence[Variable]) -> None:
        """Price the layers of `context`, about which `variables` decide."""
        at = {layer.name: i for i, layer in enumerate(context.layers)}
        self._options = [np.array(v.options, dtype=np.float64) for v in variables]
        plain = [v.axis == "channels" and v.role != "heads" for v in variables]
        self._ragged = [
            RAGGED * (np.array(v.options) % 32 != 0) * ends for v, ends in zip(variables, plain, strict=True)
        ]
        self._area = np.array([layer.area for layer in context.layers], dtype=np.float64)
        self._taps = np.array([layer.shape[2] * layer.shape[3] for layer in context.layers], dtype=np.float64)
        self._ends = np.array([layer.shape[1::-1] for layer in context.layers], dtype=np.float64)  # channels in, out
        self._of = np.full((2, len(at)), -1)  # the variable that decides a layer's channels in, out
        self._each = np.ones((2, len(at)))  # numbers that go with one channel there: heads have many
        self._bits_of = np.full(len(at), -1)
        members = {group.name: group.members for group in context.groups}
        for i, variable in enumerate(variables):
            if variable.axis == "bits":
                self._bits_of[[at[name] for name in variable.layers]] = i
            elif variable.axis == "channels":
                for member in members[variable.subject]:
                    place = int(member.side == "out"), at[member.layer]
                    self._of[place] = i
                    self._each[place] = max(1, len(member.pairs) // int(variable.options[0]))
        self._unit_ms = 1.0
        self._unit_ms = TEACHER_MS / float(self(np.zeros((1, len(variables)), dtype=np.int64))[0])

    def __call__(self, designs: Ints) -> Floats:
        """Return the latency (ms) [n] of designs [n, variables]."""
        taken = np.stack([options[designs[:, i]] for i, options in enumerate(self._options)], axis=1)
        ragged = np.stack([more[designs[:, i]] for i, more in enumerate(self._ragged)], axis=1)
        ends, more = [], np.ones((len(designs), len(self._area)))
        for side in (0, 1):
            decided = self._of[side] >= 0
            end = np.tile(self._ends[:, side], (len(designs), 1))
            end[:, decided] = taken[:, self._of[side, decided]] * self._each[side, decided]
            more[:, decided] += ragged[:, self._of[side, decided]]
            ends.append(end)
        bits = np.full_like(more, 32.0)
        bits[:, self._bits_of >= 0] = taken[:, self._bits_of[self._bits_of >= 0]]
        speed = np.interp(bits, sorted(SPEED), [SPEED[width] for width in sorted(SPEED)])
        arithmetic = ends[0] * ends[1] * self._taps * self._area * speed * more
        memory = 40 * self._area * ends[1] * (bits / 32)
        border = 60 * self._area[1:] * ends[0][:, 1:] * (np.diff(bits, axis=1) != 0)
        cost = arithmetic.sum(axis=1) + memory.sum(axis=1) + border.sum(axis=1) + 4e5 * len(self._area)
        return np.asarray(self._unit_ms * cost)
