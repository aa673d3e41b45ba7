"""How often modules ran."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def forwards_counted() -> Iterator[list[nn.Module]]:
    """The modules that ran meanwhile, in any network."""
    ran: list[nn.Module] = []
    handle = torch.nn.modules.module.register_module_forward_hook(lambda module, _in, _out: ran.append(module))
    try:
        yield ran
    finally:
        handle.remove()
