"""Which runtimes there are. Any installed package can bring one through the entry-point group."""

from __future__ import annotations

from ...errors import PluginError
from ...spaces.plugins import Registry
from .base import Runtime

_EXTRAS = {
    "openvino": "pip install 'autocompress[openvino]'",
    "executorch": "pip install 'autocompress[executorch]'",
    "litert": "pip install 'autocompress[litert]'",
    "coreml": "pip install 'autocompress[coreml]'",
    "tensorrt": "pip install tensorrt",
    "tensorrt_rtx": "pip install 'autocompress[tensorrt-rtx]'",
}

RUNTIMES: Registry[Runtime] = Registry("runtime", "autocompress.runtimes", Runtime, _EXTRAS)


def get_runtime(name: str) -> Runtime:
    """Return the runtime of this name, whether or not it can run here; raises as `Registry.make` does."""
    return RUNTIMES.make(name)


def all_runtimes() -> dict[str, Runtime | PluginError]:
    """Return all runtimes by name, also those that cannot run here; see `Registry.make_all`."""
    return RUNTIMES.make_all()
