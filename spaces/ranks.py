"""Ranks of groups by how much the teacher suffers when they shrink."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .sites import Sites


def sensitivity_ranks(sites: Sites, damage: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Group name -> rank of its damage at half of its channels among all groups, from -1 (least) to 1 (most); equal
    damages share a rank. damage: by site name and option, as in a Guide; groups without one are left out."""
    found: dict[str, float] = {}
    for site in sites:
        if site.kind == "channels" and site.name in damage:
            counts = [float(option) for option in site.options if isinstance(option, int)]
            half = min(range(1, len(counts)), key=lambda i: abs(counts[i] - counts[0] / 2))
            found[site.owner] = damage[site.name][half]
    last = max(1, len(found) - 1)
    values = sorted(found.values())
    ranks = {}
    for name, value in found.items():
        at = [i for i, other in enumerate(values) if other == value]
        ranks[name] = 2 * (at[0] + at[-1]) / 2 / last - 1 if len(found) > 1 else 0.0
    return ranks
