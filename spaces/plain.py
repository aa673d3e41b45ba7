"""Values as plain JSON types, and back, checked."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Return a frozen dataclass, or a mapping or sequence of such, in plain JSON types."""
    cls: Any = type(value)
    return _adapter(cls).dump_python(value)


def from_plain(cls: type[T], data: Any) -> T:
    """Return the value of this class that `to_plain` wrote.

    Raises:
        ValueError: `data` is something else; the message says what, in pydantic's words.
    """
    kind: Any = cls
    found: T = _adapter(kind).validate_python(data)
    return found


@functools.cache
def _adapter(cls: Any) -> TypeAdapter[Any]:
    return TypeAdapter(Mapping[str, Any] if cls is dict else cls)
