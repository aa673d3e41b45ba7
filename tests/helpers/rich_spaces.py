"""Spaces over small networks in which every axis has something to decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import nets

from autocompress.spaces.axes.target import TargetAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.space import Space
from autocompress.spaces.target import Capabilities, joint_capabilities

JOINT = ("channels", "pattern", "bits", "recovery")


def rich_context(name: str = "digits") -> SpaceContext:
    """A context where every axis has something to decide."""
    return replace(nets.net(name).context, storage_counts=True)


def rich_space(name: str = "digits", axes: Sequence[str] = JOINT) -> Space:
    return nets.space_over(rich_context(name), *axes)


def one_float_space(name: str = "digits") -> Space:
    """Both precisions of floats, of which a file has one."""
    can = Capabilities((32, 16, 8), (), 8, one_float=True)
    return nets.space_over(replace(nets.net(name).context, capabilities=can), *JOINT)


HERE = Capabilities((32, 8), (), 8)
THERE = Capabilities((32, 16), (), 8, one_float=True)


def choosing_space(name: str = "digits") -> Space:
    """Each plan chooses one of two targets that can use different things."""
    joint = joint_capabilities([HERE, THERE], any_of=True)
    context = replace(nets.net(name).context, capabilities=joint, targets={"here": HERE, "there": THERE}, axes=JOINT)
    return Space(context, [*(nets.AXES[axis] for axis in JOINT), TargetAxis()])


KINDS = {"rich": rich_space, "one float": one_float_space, "choosing": choosing_space}
