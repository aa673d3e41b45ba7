"""Weights from and to files. Nothing that is in a file is ever executed."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DataError, one_line
from ..files import write_bytes
from ..quieting import quietly


def load_weights(model: nn.Module, path: str | Path) -> None:
    """Copy the weights in a file into the model.

    A `state_dict` inside is unwrapped, and so are names that DataParallel and torch.compile made longer.

    Args:
        model: Changed in place; unchanged where an error is raised.
        path: A `.safetensors` file, or else a torch file, which is read with weights_only.

    Raises:
        DataError: The file is missing, is corrupt, holds code, or has a key that does not fit; the message names the
            first one.
    """
    fit_weights(model, _read(Path(path)), str(path))


def fit_weights(model: nn.Module, state: Mapping[str, Tensor], where: str) -> None:
    """Copy weights by name into the model; what DataParallel and torch.compile add to names is dropped.

    Args:
        model: Changed in place; unchanged where an error is raised.
        state: Its weights and buffers.
        where: They come from, for messages.

    Raises:
        DataError: A key does not fit; the message names the first one.
    """
    wanted = tensors_in(model)
    state = _named_as_in(wanted, state)
    # Files from before batch norms counted their batches are fine: the count does not change any output.
    for key in wanted:
        if key not in state and not key.endswith("num_batches_tracked"):
            raise DataError(f"{where}: has no weights {key!r}, which the model needs; is it another architecture?")
    for key, value in state.items():
        if key not in wanted:
            raise DataError(f"{where}: weights {key!r} have no place in the model; is it another architecture?")
        if value.shape != wanted[key].shape:
            raise DataError(
                f"{where}: weights {key!r} have shape {list(value.shape)}, the model has "
                f"{list(wanted[key].shape)}; is it another width or number of classes?"
            )
    model.load_state_dict(state, strict=False)


def _named_as_in(wanted: Collection[str], state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights by the names that a model has for them; those that it has none for keep theirs.

    DataParallel and torch.compile put names of their own into those of what they wrap, be it the model or a part of it.
    """
    given = {_without(("_orig_mod",), key): value for key, value in state.items()}
    own = {_without(("_orig_mod",), name): name for name in wanted}
    if not any(name.startswith("module.") for name in own):
        given = {key.removeprefix("module."): value for key, value in given.items()}
    plain = {_without(("module",), name): name for name in own}
    known = {key: _without(("module",), key) for key in given}
    if len(plain) == len(own) and len(set(known.values())) == len(known):  # a part may really be called so
        given = {plain.get(known[key], key): value for key, value in given.items()}
    return {own.get(key, key): value for key, value in given.items()}


def _without(words: Container[str], name: str) -> str:
    *owners, leaf = name.split(".")
    return ".".join([*(owner for owner in owners if owner not in words), leaf])


def save_weights(model: nn.Module, path: str | Path, notes: Mapping[str, str] | None = None) -> None:
    """Write the model's weights as safetensors: whole, or not at all.

    Args:
        model: Its state_dict is written.
        path: The file.
        notes: Kept in the file's header; see `read_notes`.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    from safetensors.torch import save

    # Cloned, because the format refuses tensors that share memory.
    state = {k: v.detach().cpu().contiguous().clone() for k, v in tensors_in(model).items()}
    write_bytes(Path(path), save(state, metadata=dict(notes or {})))


def tensors_in(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights and buffers of a model, without what else its modules keep in their state."""
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}


def plain_bytes(model: nn.Module) -> Iterator[bytes]:
    """Yield each name of a model's weights and buffers, and then its values, whatever their type."""
    for name, value in tensors_in(model).items():
        yield name.encode()
        plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        yield plain.view(-1).view(torch.uint8).numpy().tobytes()


def read_notes(path: str | Path) -> dict[str, str]:
    """Return the notes of a file that `save_weights` wrote; empty when it is missing or unreadable."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt") as file:
            return dict(file.metadata() or {})
    except (OSError, SafetensorError):
        return {}


def _read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise DataError(f"no checkpoint {path}: correct the path, or leave it out to start from random weights")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not all(isinstance(v, Tensor) for v in content.values()):
        raise DataError(f"{path}: holds no state_dict of tensors: save model.state_dict()")
    return {str(key): value for key, value in content.items()}


def _read_safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path}: not a readable safetensors file ({one_line(error)}): fetch or save it again"
        ) from error


def _read_torch(path: Path) -> Any:
    try:
        with quietly(stdout=False):  # warnings about pickle versions: what cannot be read is told below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in any way the unpickler knows
        # torch refuses any name outside its list of tensor types by this word; everything else is damage.
        if "unsupported global" in str(error).lower():
            raise DataError(
                f"{path}: holds pickled Python objects, which could run code and are not loaded: "
                "save model.state_dict() or safetensors"
            ) from error
        raise DataError(f"{path}: not a readable checkpoint, damaged or cut off: fetch it again") from error
