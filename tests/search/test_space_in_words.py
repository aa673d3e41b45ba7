"""A space on the screen, and why a technique cannot be tried on it."""

from __future__ import annotations

from dataclasses import replace

import nets
import pytest
from shallow_spaces import shallow_context, shallow_space

from autocompress.cli.space_table import print_space
from autocompress.search.report.space_report import describe_space
from autocompress.search.technique_kinds.facts import SpaceFacts
from autocompress.search.technique_kinds.scaling import SHALLOWER, SMALLER_INPUTS
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.groups import LeftOut
from autocompress.spaces.sizes import WHAT
from autocompress.spaces.space import build_space


def test_a_decision_about_all_layers_is_told_once(capsys: pytest.CaptureFixture[str]) -> None:
    print_space(describe_space(shallow_space(), (), (), {}))
    layers, _, decisions = capsys.readouterr().out.partition("Decisions")
    assert "size" not in layers and "channels:c0" in layers and "bits:c0" in layers and "depth:b1" in layers
    (line,) = (line for line in decisions.splitlines() if line.split()[:1] == ["size"])
    assert "full | 28 | 16" in line and "every layer" in line and "c0" not in line
    assert any("depth:b1" in line and "c2, c3" in line for line in decisions.splitlines())


def whys(context: SpaceContext, *axes: str) -> tuple[str, str]:
    """Why blocks cannot go and inputs cannot be smaller, with what a study's folder says of it checked too."""
    space = build_space(replace(context, axes=axes), axes)
    facts = SpaceFacts.of(space)
    assert SpaceFacts.read(describe_space(space, (), (), {})) == facts
    return SHALLOWER.why_not(facts), SMALLER_INPUTS.why_not(facts)


def test_where_the_network_cannot_the_table_says_why() -> None:
    reason = "its outputs change their shape with the size of its inputs"
    context = replace(nets.net("flatten").context, no_sizes=(LeftOut(f"{WHAT} 14x14", reason),))
    blocks, sizes = whys(context, "depth", "size", "channels")
    assert "shortcut" in blocks and reason in sizes
    assert "no axis of this study" not in blocks + sizes
    blocks, sizes = whys(context, "channels")
    assert "no axis of this study drops blocks" in blocks
    assert "no axis of this study makes inputs smaller" in sizes


def test_blocks_that_all_stay_are_a_reason_too() -> None:
    context = shallow_context()
    keep = frozenset({"c2", "c5"})
    blocks, sizes = whys(replace(context, keep=keep), "depth", "size", "channels")
    assert "kept as asked (c2)" in blocks and "the last block" in blocks and not sizes
    assert whys(context, "depth", "size", "channels") == ("", "")
