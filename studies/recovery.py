"""The section of a study file that says how long a student is taught."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from .section import Count, Positive, Section, named_once


class RecoverySection(Section):
    """Says how long a student is taught.

    Attributes:
        epochs: Passes over the training data. Without it 2, and up to 10 where there are few examples.
        rungs: Fractions of `epochs` after which a student is looked at. They rise, and the last is 1.
        batch_size: Inputs in a training batch. Without it at most 128, and fewer where a training would have under 200
            steps; see `compression.recover.fitting_schedule`.
        weight_decay: Of the weights of layers; biases and norms have none.
        optimizer: "sgd" or "adamw". Without it AdamW for networks that are normalised by layers, as transformers are.
        ramp: "cubic" lets the zeros of patterns come little by little, over the first 60 % of a training. Without it
            they are there from its start.
        starts: Whose weights students may begin with: "teacher", "new" (random ones) or "early" (those that the task
            brings as `early_weights`). With several, each plan chooses one.
    """

    epochs: Positive | None = None
    rungs: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(strict=False, min_length=1)] = (0.5, 1.0)
    batch_size: Count | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    optimizer: Literal["sgd", "adamw"] | None = None
    ramp: Literal["cubic"] | None = None
    starts: Annotated[tuple[Literal["teacher", "new", "early"], ...], Field(strict=False, min_length=1)] = ("teacher",)

    @model_validator(mode="after")
    def _starts_named_once(self) -> RecoverySection:
        named_once("starts", self.starts)
        return self

    @model_validator(mode="after")
    def _rungs_rise_to_one(self) -> RecoverySection:
        rungs = self.rungs
        if any(a >= b for a, b in pairwise(rungs)) or rungs[-1] != 1.0:
            raise ValueError(f"rungs = {list(rungs)} must rise strictly and end with 1.0")
        return self
