"""What all sections of a study file have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


def named_once(key: str, names: Sequence[str]) -> None:
    """Refuse a list that names something twice.

    Raises:
        ValueError: It does.
    """
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{key} = {list(names)} names {twice!r} twice")


class Section(BaseModel):
    """One section of a study file. Unknown keys, wrong types, NaN and infinity are refused."""

    # A list in TOML becomes a tuple, so that a section can be hashed and never changes.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # a table in a section is a dict, which has no hash of its own
