"""A Ray cluster that asks for a token is told of in one line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.cluster, pytest.mark.xdist_group("ray-token")]

CLUSTER = """
import sys, ray
ray.init(num_cpus=1, log_to_driver=False, configure_logging=False, include_dashboard=False)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""
JOINS = """
import sys
from autocompress.errors import RuntimeUnavailable
from autocompress.search.executors.ray_cluster import join
from autocompress.studies.schema import SearchSection
try:
    join(SearchSection(address=sys.argv[1]))
except RuntimeUnavailable as error:
    print(error)
"""


def test_what_it_asks_for_is_said() -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    asks = {**os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0123456789abcdef" * 4}
    with subprocess.Popen(
        [sys.executable, "-c", CLUSTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=asks
    ) as cluster:
        assert cluster.stdout is not None and cluster.stdin is not None
        address = cluster.stdout.readline().strip()
        without = {**os.environ, "RAY_AUTH_MODE": "disabled"}
        done = subprocess.run(
            [sys.executable, "-c", JOINS, address], capture_output=True, text=True, env=without, timeout=300, check=True
        )
        cluster.stdin.close()
    assert done.stdout.startswith(f"no Ray cluster answers at {address}") and done.stdout.count("\n") == 1
    assert "RAY_AUTH_MODE=token" in done.stdout
