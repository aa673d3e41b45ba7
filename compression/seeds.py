"""Random numbers that depend on named parts alone."""

from __future__ import annotations

import hashlib

import torch


def seeded_generator(*parts: int | str) -> torch.Generator:
    """Return a CPU generator whose stream depends on all parts, and is unrelated for neighbouring ones.

    Args:
        *parts: What the stream is for, such as a seed, an epoch and a step.
    """
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
