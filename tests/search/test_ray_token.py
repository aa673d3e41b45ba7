"""A Ray cluster that asks for a token is told of in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.parametrize("mode", [None, "token", "disabled"])
def test_nothing_is_said_of_tokens_by_a_cluster_of_our_own(mode: str | None, tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="the extra 'ray' is not installed")
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    env |= {"HOME": str(tmp_path)} | ({} if mode is None else {"RAY_AUTH_MODE": mode})
    own = "import ray\n" + JOINS.replace("sys.argv[1]", '""') + "\nray.shutdown()"
    done = subprocess.run([sys.executable, "-c", own], capture_output=True, text=True, env=env, timeout=300, check=True)
    assert done.stdout == "" == done.stderr


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
