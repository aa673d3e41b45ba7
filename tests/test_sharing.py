"""How the tests themselves are run."""

from __future__ import annotations

import os

import pytest


@pytest.mark.xdist_group("together")
def test_groups_reach_the_workers(request: pytest.FixtureRequest) -> None:
    """Some versions of pytest and pytest-xdist do not fit: marks of groups are ignored, and searches are made twice."""
    if "PYTEST_XDIST_WORKER" not in os.environ or not request.config.getoption("loadgroup", False):
        pytest.skip("the tests do not run in several workers by groups")
    assert request.node.nodeid.endswith("@together")
