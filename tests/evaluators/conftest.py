"""What tests of evaluators share."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known where pytest-xdist, which brings it, is not installed."""
    config.addinivalue_line("markers", "xdist_group(name): tests of one name run one after the other in one worker")
