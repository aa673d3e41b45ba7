"""What may stand in a study file: its sections, their keys, defaults and allowed ranges."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ..errors import StudyFileError
from ..spaces.target import Target

Positive = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(ge=1)]


Part = Literal[
    "sensitivity", "latency_model", "seeds", "shares", "profile", "refinement", "rungs", "first_look", "inheritance"
]
"""Parts of the search that can be left out."""


class Section(BaseModel):
    """One section: unknown keys, wrong types, NaN and infinity are refused."""

    # A list in TOML becomes a tuple, so that a section can be hashed and never changes.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def __hash__(self) -> int:
        return hash(self.model_dump_json())  # a table in a section is a dict, which has no hash of its own


class TaskSection(Section):
    """A task of the user's own, key `from`: `my_task.py`, `my_task.py:function` or `module:function`."""

    source: str | None = Field(default=None, alias="from")


class DataSection(Section):
    """Ready-made data. validation: a fraction or a count, taken off train; or off test, for a checkpoint that was
    trained on all of train, whose accuracy there would flatter it. mean, std: one number per channel."""

    kind: Literal["digits", "parquet", "torchvision", "image_folder"] = "digits"
    train: str | None = None
    test: str | None = None
    name: str | None = None
    root: str = "."
    validation: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] = 0.25
    validation_from: Literal["train", "test"] = "train"
    mean: Annotated[tuple[float, ...], Field(strict=False)] = ()
    std: Annotated[tuple[Positive, ...], Field(strict=False)] = ()
    augment: Literal["none", "crop", "crop_flip"] = "none"
    image_size: Count | None = None

    def file(self, key: Literal["train", "test", "name"]) -> str:
        """The value of a key that this kind of data cannot do without. Raises StudyFileError when it is absent."""
        value: str | None = getattr(self, key)
        if value is None:
            raise StudyFileError(f"[data] kind = {self.kind!r} needs {key!r}: add it")
        return value


class TeacherSection(Section):
    """The network. epochs: of training, or of fine-tuning when there is a checkpoint; 0 takes it as it is."""

    model: str | None = None
    width: Count | None = None
    checkpoint: str | None = None
    epochs: Annotated[int, Field(ge=0)] = 0
    learning_rate: Positive = 0.02
    batch_size: Count = 128
    seed: Annotated[int, Field(ge=0)] = 0


class TargetSection(Section):
    """Where the model will run. runtime: a name, or several; one may name its device, as in "tensorrt@cuda", where
    that is not `device`. With several, each model is built for all of them, or with any_of for the one its plan
    chooses. batch: images per inference. probe_seconds: spent at most, on each target, on finding out which bits and
    channel counts win there; what is left open stays as the runtime declares it. learn_seconds: spent at most, on each
    target, on timing plans that a model of its latency is fitted to, and no more than a twentieth of the minutes of a
    search. precision: half of the 95 % interval
    of the ratio to the teacher's latency, at which a measurement may stop, and for which the front is measured in up
    to seven processes; the milliseconds carry the teacher's own interval besides."""

    runtime: str | Annotated[tuple[str, ...], Field(strict=False, min_length=1)] = "onnxruntime"
    any_of: bool = False
    device: str = "cpu"
    threads: Count = 1
    batch: Count = 1
    probe_seconds: Annotated[float, Field(ge=0)] = 30.0
    learn_seconds: Annotated[float, Field(ge=0)] = 30.0
    precision: Annotated[float, Field(gt=0, lt=1)] = 0.02

    def targets(self) -> tuple[Target, ...]:
        """The targets, the first one first: speed-ups are to the teacher there."""
        names = (self.runtime,) if isinstance(self.runtime, str) else self.runtime
        found = []
        for name in names:
            runtime, _, device = name.partition("@")
            found.append(Target(runtime, device or self.device, self.threads, self.batch))
        return tuple(found)

    @model_validator(mode="after")
    def _targets_differ(self) -> TargetSection:
        names = [target.name for target in self.targets()]
        if len(names) > len(set(names)):
            raise ValueError(f"runtime = {names} names one target twice")
        if self.any_of and len(names) < 2:
            raise ValueError(f"any_of chooses between targets, but runtime names {names[0]!r} alone")
        return self


class BudgetSection(Section):
    """What a model must meet. latency_ms: on every target, but for those with a budget of their own in `on`.
    percentile: of latency. min_accuracy: in the metric's own units."""

    latency_ms: Positive | None = None
    on: dict[str, Positive] = {}
    percentile: Literal[50, 90, 95, 99] = 50
    max_mb: Positive | None = None
    min_accuracy: Positive | None = None


class SpaceSection(Section):
    """What may change. keep: layers left as they are. bits, patterns: None offers all that the target can use."""

    axes: Annotated[
        tuple[Literal["width", "channels", "pattern", "bits", "recovery"], ...], Field(strict=False, min_length=1)
    ] = ("width", "channels", "pattern", "bits", "recovery")
    keep: Annotated[tuple[str, ...], Field(strict=False)] = ()
    min_channels_fraction: Annotated[float, Field(ge=0.1, le=1)] = 0.25
    bits: Annotated[tuple[Literal[4, 8, 16, 32], ...], Field(strict=False, min_length=1)] | None = None
    patterns: Annotated[tuple[Literal["unstructured", "2:4"], ...], Field(strict=False)] | None = None


class RecoverySection(Section):
    """How long a student is taught. rungs: fractions of epochs after which it is looked at; the last is 1."""

    epochs: Positive = 2.0
    rungs: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(strict=False, min_length=1)] = (0.5, 1.0)
    batch_size: Count = 128
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4

    @model_validator(mode="after")
    def _rungs_rise_to_one(self) -> RecoverySection:
        rungs = self.rungs
        if any(a >= b for a, b in pairwise(rungs)) or rungs[-1] != 1.0:
            raise ValueError(f"rungs = {list(rungs)} must rise strictly and end with 1.0")
        return self


class SearchSection(Section):
    """How the front is found. trials, minutes: stop conditions; patience: a third one, minutes in which the front under
    the budget has not moved. infeasible: what the sampler is told of such plans. eta: of the students that reach a
    rung, one in so many goes on. without: parts of the search that are left out, to see what they are worth."""

    trials: Count | None = None
    minutes: Positive | None = None
    patience: Positive | None = None
    objectives: Annotated[
        tuple[Literal["accuracy", "latency_ms", "size_bytes", "compressed_bytes"], ...],
        Field(strict=False, min_length=1),
    ] = ("accuracy", "latency_ms")
    seed: Annotated[int, Field(ge=0)] = 0
    workers: Count = 1
    executor: Literal["local", "processes", "ray"] = "local"
    sampler: Literal["auto", "tpe", "gp", "random", "nsga2"] = "auto"
    infeasible: Literal["reject", "constraint"] = "reject"
    eta: Count = 2
    without: Annotated[tuple[Part, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _patience_has_a_front(self) -> SearchSection:
        if self.patience is not None and not {"accuracy", "latency_ms"} <= set(self.objectives):
            raise ValueError("patience watches accuracy and latency_ms: both must be objectives")
        return self


class StudySections(Section):
    """A whole study file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")] = "study"
    task: TaskSection = TaskSection()
    data: DataSection = DataSection()
    teacher: TeacherSection = TeacherSection()
    target: TargetSection = TargetSection()
    budget: BudgetSection = BudgetSection()
    space: SpaceSection = SpaceSection()
    recovery: RecoverySection = RecoverySection()
    search: SearchSection = SearchSection()

    def budgets(self) -> dict[str, float]:
        """Target name -> latency budget (ms), of the targets that have one.

        Raises StudyFileError for a budget on a target that the study does not have."""
        names = [target.name for target in self.target.targets()]
        for name in self.budget.on:
            if name not in names:
                raise StudyFileError(f"[budget.on] names {name!r}; allowed: the study's targets, {', '.join(names)}")
        found = {name: self.budget.on.get(name, self.budget.latency_ms) for name in names}
        return {name: limit for name, limit in found.items() if limit is not None}
