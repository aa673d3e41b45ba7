"""Channels of all groups in one ranking, so that each group keeps as many as its channels are worth."""

from __future__ import annotations

from ...spaces.axes.channels import ChannelsAxis
from ...spaces.group import Group
from ...spaces.plan import Plan
from ...spaces.space import Space


def ranked(space: Space, part: float, like: Plan | None = None) -> Plan:
    """Return the plan that keeps the most important channels of the network, whichever group they are in.

    The importance of a channel is what the study's criterion says, a sum of squared weights by default. It is divided
    by the mean of its group, since layers have weights of different scales. Each group takes its nearest legal count.
    All layers keep 32 bits.

    Args:
        space: A space in which each group has channels of its own to decide.
        part: Of all channels that can go, the part that stays, 0.0 to 1.0.
        like: The plan that all other decisions are taken from; one that is taught in the default way if None.
    """
    groups = {group.name: group for group in space.context.only("").groups}
    variables = {v.subject: v for v in space.of(ChannelsAxis.name) if v.subject in groups}
    # equal importance says nothing: then all groups lose the same part
    order = sorted(
        (-score, place, name, groups[name].blocks) for name in variables for score, place in _scores(groups[name])
    )
    left = part * sum(blocks for *_, blocks in order)
    kept = dict.fromkeys(variables, 0)
    for *_, name, blocks in order:
        if left < blocks / 2:
            break
        kept[name] += blocks
        left -= blocks
    choices = {v.name: v.options[v.index(kept[name])] for name, v in variables.items()}
    return space.repair((space.taught if like is None else like).changed(choices))


def _scores(group: Group) -> list[tuple[float, float]]:
    """Return the importance of channels over the group's mean, and their place in the group between 0 and 1.

    Blocks lose equally many: a score stands for one channel of each block.
    """
    ordered = group.importance.double().view(group.blocks, -1).sort(dim=1, descending=True).values.mean(0)
    mean = float(ordered.mean())
    scores = (ordered / mean if mean > 0 else ordered).tolist()
    return [(round(score, 9), (i + 1) / len(scores)) for i, score in enumerate(scores)]
