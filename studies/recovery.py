"""The section of a study file that says how a student becomes good again: by training, and by calibration."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ..spaces.spec import AIDS, Recovery
from .section import Count, Positive, Section, named_once

Calibration = Literal["minmax", "percentile-99.99", "percentile-99.9", "entropy", "mse", "trained", "auto"]
"""How the ranges of 8-bit activations are found."""
SEARCHED: Literal["searched"] = "searched"
"""In the place of a number that the search decides for each student."""


class RecoverySection(Section):
    """Says how long a student is taught, and which of its weights may be.

    Attributes:
        epochs: Passes over the training data. Without it 2, and up to 10 where there are few examples.
        rungs: Fractions of `epochs` after which a student is looked at. They rise, and the last is 1.
        batch_size: Inputs in a training batch. Without it at most 128, and fewer where a training would have under 200
            steps; see `compression.recover.fitting_schedule`.
        weight_decay: Of the weights of layers; biases and norms have none.
        optimizer: "sgd" or "adamw". Without it AdamW for networks that are normalised by layers, as transformers are.
        learning_rate: Peak of the schedule where nothing else decides it, about which a search tries others. Without
            it 0.02 for SGD; that of AdamW is found by a few short trainings before the first trial.
        temperature: What softens the outputs of teacher and student, 1 to 10; "searched" lets a search decide it.
        alpha: Weight of the teacher's outputs against the labels, 0 to 1; likewise.
        ways: Which weights a training may change: "full" all of them, "classifier" the last layer, "bitfit" biases,
            norms and the last layer, "lora" those and an update of low rank for each other layer, "qlora" the same
            over weights that are kept in 8 bits meanwhile, "adapters" biases, norms, the last layer and bottlenecks
            that are put into every block and stay in the file. A search chooses among them; the first is that of
            students made by hand.
        rank: Of the updates of "lora" and "qlora", and channels of the bottlenecks of "adapters".
        aids: What the teacher may show beside its outputs, with a weight that the search decides: "attention" (where it
            looks), "hidden" (what lies within it), "relation" (which examples it finds alike). None by default.
        ramp: "cubic" lets the zeros of patterns come little by little, over the first 60 % of a training. Without it
            they are there from its start.
        learned_steps: Whether quantization-aware training learns the ends of its grids too, by LSQ, of weights and of
            the inputs of 8-bit layers. Files have the learned ends of weights, and with `calibration = "trained"` those
            of inputs.
        starts: Whose weights students may begin with: "teacher", "new" (random ones) or "early" (those that the task
            brings as `early_weights`). With several, each plan chooses one.
        student_epochs: Passes over the training data for which each of the task's own students is taught by the teacher
            before the search; four times `epochs` without it, and 0 leaves their weights as they are.
        calibration: How the ranges of 8-bit activations are found from calibration inputs; "trained" takes those of
            quantization-aware training, and "auto" the method whose file answers most like its student, on calibration
            inputs that gave no range, with weights edited where that is better still. Runtimes that have no choice of
            ranges find them from the least to the largest value.
    """

    epochs: Positive | None = None
    rungs: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(strict=False, min_length=1)] = (0.5, 1.0)
    batch_size: Count | None = None
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    optimizer: Literal["sgd", "adamw"] | None = None
    learning_rate: Positive | None = None
    temperature: Literal["searched"] | Annotated[float, Field(ge=1, le=10)] = Recovery.temperature
    alpha: Literal["searched"] | Annotated[float, Field(ge=0, le=1)] = Recovery.alpha
    ways: Annotated[
        tuple[Literal["full", "classifier", "bitfit", "lora", "qlora", "adapters"], ...],
        Field(strict=False, min_length=1),
    ] = ("full",)
    rank: Count = Recovery.rank

    @model_validator(mode="after")
    def _ways_named_once(self) -> RecoverySection:
        named_once("ways", self.ways)
        return self

    aids: Annotated[tuple[Literal["attention", "hidden", "relation"], ...], Field(strict=False)] = ()

    @field_validator("aids")
    @classmethod
    def _in_one_order(cls, aids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(aid for aid in AIDS if aid in aids)

    @property
    def held(self) -> dict[str, float]:
        """The numbers of distillation that all students have, by name; a search decides the others."""
        numbers = {"temperature": self.temperature, "alpha": self.alpha}
        return {name: float(number) for name, number in numbers.items() if number != SEARCHED}

    ramp: Literal["cubic"] | None = None
    learned_steps: bool = False
    starts: Annotated[tuple[Literal["teacher", "new", "early"], ...], Field(strict=False, min_length=1)] = ("teacher",)

    @model_validator(mode="after")
    def _starts_can_be_taught(self) -> RecoverySection:
        named_once("starts", self.starts)
        other = next((start for start in self.starts if start != "teacher"), None)
        if other is not None and "full" not in self.ways:
            raise ValueError(f"starts names {other!r}, whose weights are all trained: add 'full' to ways, or remove it")
        return self

    student_epochs: Annotated[float, Field(ge=0)] | None = None
    calibration: Calibration = "minmax"

    @model_validator(mode="after")
    def _rungs_rise_to_one(self) -> RecoverySection:
        rungs = self.rungs
        if any(a >= b for a, b in pairwise(rungs)) or rungs[-1] != 1.0:
            raise ValueError(f"rungs = {list(rungs)} must rise strictly and end with 1.0")
        return self
