"""One row for each kind of fault: how often, what was lost, what was wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class Row:
    """What came of one kind of fault.

    Attributes:
        fault: Its name.
        times: How often it was made to happen.
        lost: What was there and is not any more.
        wrong: What contradicts what was said, what outlived its driver, what failed though nothing was wrong with it.
        ended: How searches ended by it, one word or line each.
        left_out: Why it could not be tried here.
    """

    fault: str
    times: int = 0
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    left_out: str = ""

    def lines(self) -> list[str]:
        """Return what it says, for a reader who wants to know more than the numbers."""
        counted = Counter([*(f"lost: {each}" for each in self.lost), *(f"wrong: {each}" for each in self.wrong)])
        counted.update(f"ended: {each}" for each in self.ended)
        return [
            f"  {self.fault}: {words}{f' ({count} times)' if count > 1 else ''}" for words, count in counted.items()
        ]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as Markdown."""
    lines = ["| fault | how often | lost | wrong |", "| --- | --- | --- | --- |"]
    for row in rows:
        if row.left_out:
            lines.append(f"| {row.fault} | not tried: {row.left_out} | | |")
        else:
            lines.append(f"| {row.fault} | {row.times} | {len(row.lost)} | {len(row.wrong)} |")
    return "\n".join(lines)
