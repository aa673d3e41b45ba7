"""The section of a study file that says what a model must meet."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .section import Positive, Section

LATENCY_KEYS = frozenset(["latency_ms", "latency", "speedup"])
"""Keys of a budget that say one thing in different ways."""
Percentage = Annotated[str, Field(pattern=r"^[0-9]*\.?[0-9]+%$")]
"""Such as "50%"."""


class BudgetSection(Section):
    """Says what a model must meet.

    Attributes:
        latency_ms: Milliseconds on every target, but for those with a budget of their own in `on`.
        on: Target name -> milliseconds.
        percentile: Of latency.
        max_mb: Most megabytes of a file.
        min_accuracy: Least metric, in its own units; of a metric that is minimized, the most.
        max_drop: Of the metric below the teacher's: a part of it ("1%"), points ("1pt", hundredths of a metric from
            0 to 1) or a number in the metric's own units ("0.01").
        latency: Part of the teacher's median latency, such as "50%", on every target without a budget of its own.
        speedup: The same, as how many times faster than the teacher a model must be.
        max_size: Part of the size of the teacher's file, such as "25%".
    """

    latency_ms: Positive | None = None
    latency: Percentage | None = None
    speedup: Positive | None = None
    on: dict[str, Positive] = Field(default_factory=dict)
    percentile: Literal[50, 90, 95, 99] = 50
    max_mb: Positive | None = None
    max_size: Percentage | None = None
    min_accuracy: Annotated[float, Field(allow_inf_nan=False)] | None = None
    max_drop: Annotated[str, Field(pattern=r"^[0-9]*\.?[0-9]+(%|pt)?$")] | None = None

    @property
    def latency_part(self) -> float | None:
        """The part of the teacher's latency that a model may take, None where no limit is relative."""
        if self.speedup is not None:
            return 1 / self.speedup
        return None if self.latency is None else float(self.latency.removesuffix("%")) / 100

    @property
    def size_part(self) -> float | None:
        """The part of the size of the teacher's file that a model may have, None without such a limit."""
        return None if self.max_size is None else float(self.max_size.removesuffix("%")) / 100

    @model_validator(mode="after")
    def _above_0(self) -> BudgetSection:
        for key, part in (("latency", self.latency_part), ("max_size", self.size_part)):
            if part is not None and part <= 0:
                raise ValueError(
                    f"{key} = {getattr(self, key)!r}; allowed: a part of the teacher's above 0, such as 50%"
                )
        return self

    @model_validator(mode="after")
    def _one_latency(self) -> BudgetSection:
        given = [key for key in sorted(LATENCY_KEYS) if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are limits of one thing: keep one")
        return self
