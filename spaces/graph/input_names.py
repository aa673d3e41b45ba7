"""Names of inputs: users choose them freely, while the code of a graph needs those that Python has for parameters."""

from __future__ import annotations

import keyword
import re

TAKEN = frozenset({"self", "torch", "device", "inf", "nan", "NoneType", "fx_pytree", "pytree"})
"""Names that the code of a graph has for something else."""
_SPELLED = re.compile(r"_u([0-9a-f]{2,6})_")


def as_parameter(name: str) -> str:
    """Return a parameter's name that `as_given` turns back: the name itself where that can be one.

    Otherwise the first character is spelled as its number, and so is any other that Python does not take.

    Args:
        name: What the user calls an input; not empty.
    """
    can_be = name.isascii() and name.isidentifier() and not keyword.iskeyword(name) and name not in TAKEN
    if can_be and not _SPELLED.search(name):
        return name
    return "".join(
        letter if at and _stays(letter, name[at + 1 : at + 2]) else f"_u{ord(letter):02x}_"
        for at, letter in enumerate(name)
    )


def as_given(parameter: str) -> str:
    """Return what the user calls the input of a parameter; see `as_parameter`."""
    return _SPELLED.sub(lambda spelled: chr(int(spelled[1], 16)), parameter)


def _stays(letter: str, following: str) -> bool:
    # an underscore before "u" would look as if a number began
    return letter.isascii() and (letter.isalnum() or (letter == "_" and following != "u"))
