"""What tests of spaces share."""

from __future__ import annotations

import pytest
from rich_spaces import KINDS, rich_space

from autocompress.spaces.space import Space


@pytest.fixture(scope="module", params=[*KINDS, "width"])
def any_space(request: pytest.FixtureRequest) -> Space:
    if request.param == "width":
        return rich_space(axes=("width", "bits", "recovery"))
    return KINDS[request.param]()
