"""What may stand in a study file: its sections, their keys, defaults and allowed ranges.

Names of axes, objectives, executors and kinds of data are plain text here: registries know which ones are installed,
and check them when they are used.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PlainSerializer, field_validator, model_validator

from ..errors import StudyFileError
from ..spaces.target import Target
from .budget import BudgetSection
from .recovery import RecoverySection
from .section import Count, Positive, Section, named_once

Text = Annotated[str, Field(min_length=1)]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]
"""Of random numbers: what all libraries take."""
Names = Annotated[tuple[str, ...], Field(strict=False, min_length=1)]

Part = Literal[
    "sensitivity",
    "latency_model",
    "initial_design",
    "profile",
    "learned",
    "levels",
    "rungs",
    "first_look",
    "warm_start",
]
"""Parts of the search that can be left out."""


class TaskSection(Section):
    """Names a task of the user's own.

    Attributes:
        source: The key `from` in files: `my_task.py`, `my_task.py:function` or `module:function`.
    """

    source: Text | None = Field(default=None, alias="from")


class DataSection(Section):
    """Describes ready-made data. Which keys count depends on the kind of data.

    Attributes:
        kind: Name of a data source, such as "digits", "parquet", "torchvision" or "image_folder".
        train: Path of the training data.
        test: Path of the test data.
        name: Name of a data set.
        root: Folder that a data set lies in.
        validation: A fraction or a count of images, taken off `validation_from`.
        validation_from: "train", or "test" for a checkpoint that was trained on all of train, whose accuracy there
            would flatter it.
        mean: One number for each channel, subtracted after scaling to 0..1. Empty means not at all.
        std: One number for each channel, divided by afterwards. Empty means not at all.
        augment: What training batches go through: "none", "crop" or "crop_flip".
        image_size: Pixels; images are scaled and their middle is cut to this square.
    """

    kind: str = "digits"
    train: Text | None = None
    test: Text | None = None
    name: Text | None = None
    root: Text = "."
    validation: Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)] = 0.25
    validation_from: Literal["train", "test"] = "train"
    mean: Annotated[tuple[float, ...], Field(strict=False)] = ()
    std: Annotated[tuple[Positive, ...], Field(strict=False)] = ()
    augment: Literal["none", "crop", "crop_flip"] = "none"
    image_size: Annotated[int, Field(ge=1, le=4096)] | None = None

    def required(self, key: Literal["train", "test", "name"]) -> str:
        """Return the value of a key that this kind of data cannot do without.

        Raises:
            StudyFileError: The key is absent.
        """
        value: str | None = getattr(self, key)
        if value is None:
            raise StudyFileError(f"[data] kind = {self.kind!r} needs {key!r}: add it")
        return value


class TeacherSection(Section):
    """Describes the trained network that is compressed.

    Attributes:
        model: Name of a network; see `studies.models.build_model`.
        width: Channels of its first stage, for networks that have a choice.
        checkpoint: Path of its weights.
        epochs: Of training, or of fine-tuning when there is a checkpoint. 0 takes the network as it is.
        learning_rate: Peak of the schedule.
        batch_size: Images in a training batch.
        seed: Of its first weights and of the order of training.
    """

    model: Text | None = None
    width: Count | None = None
    checkpoint: Text | None = None
    epochs: Annotated[int, Field(ge=0)] = 0
    learning_rate: Positive = 0.02
    batch_size: Count = 128
    seed: Seed = 0


class TargetSection(Section):
    """Says where the model will run.

    Attributes:
        runtime: A name, or several. One may name its device, as in "tensorrt@cuda", where that is not `device`. With
            several, each model is built for all of them, or with `any_of` for the one that its plan chooses.
        any_of: Whether each plan chooses one of the targets.
        device: Where the runtimes run.
        threads: Threads of an inference.
        batch: Images in an inference.
        profile_seconds: Most seconds spent, on each target, on finding out which bits and channel counts win there.
            What is left open stays as the runtime declares it.
        learn_seconds: Most seconds spent, on each target, on timing plans that a model of its latency is fitted to.
            They are no more than a twentieth of the minutes of a search; exports of other sizes may take as much again.
        precision: Half of the 95 % interval of the ratio to the teacher's latency at which a measurement may stop,
            and for which the front is measured in up to seven processes. The milliseconds carry the teacher's own
            interval besides.
    """

    runtime: str | Names = "onnxruntime"
    any_of: bool = False
    device: str = "cpu"
    threads: Count = 1
    batch: Count = 1
    profile_seconds: Annotated[float, Field(ge=0)] = 30.0
    learn_seconds: Annotated[float, Field(ge=0)] = 30.0
    precision: Annotated[float, Field(gt=0, lt=1)] = 0.02

    def targets(self) -> tuple[Target, ...]:
        """Return the targets. Speed-ups are to the teacher on the first one."""
        names = (self.runtime,) if isinstance(self.runtime, str) else self.runtime
        found = []
        for name in names:
            runtime, _, device = name.partition("@")
            found.append(Target(runtime, device or self.device, self.threads, self.batch))
        return tuple(found)

    @model_validator(mode="after")
    def _targets_differ(self) -> TargetSection:
        given = (self.runtime,) if isinstance(self.runtime, str) else self.runtime
        for name in given:
            runtime, at, device = name.partition("@")
            if not runtime.strip() or (at and not device.strip()) or name != name.strip():
                raise ValueError(f"runtime = {name!r}; allowed: RUNTIME or RUNTIME@DEVICE, such as onnxruntime")
        if not self.device.strip():
            raise ValueError(f"device = {self.device!r}; allowed: a device such as cpu or cuda")
        names = [target.name for target in self.targets()]
        if len(names) > len(set(names)):
            raise ValueError(f"runtime = {names} names one target twice")
        if self.any_of and len(names) < 2:
            raise ValueError(f"any_of chooses between targets, but runtime names {names[0]!r} alone")
        return self


class SpaceSection(Section):
    """Says what may change.

    Attributes:
        axes: Names of kinds of decisions.
        keep: Names of layers that are left as they are.
        min_channels_fraction: Smallest part of a group's channels that may stay.
        bits: Bit-widths that may be chosen; None offers all that the targets can use.
        patterns: Sparsity patterns that may be chosen; None offers all that the targets can use. Blocks of zeros are
            offered only where they are named here.
        criterion: What tells which channels matter: "l2" or "l1" (magnitudes of weights), "taylor" (what the loss on
            training data would change by), "bn_scale" (scales of batch norms), "random", or "compared" for the one
            whose untrained student of half the width is best. It cannot change while a study goes on.
        embeddings: Whether `bits` decides about embeddings too. It cannot change while a study goes on.
        recurrent: The same about LSTM and other recurrent layers.
    """

    axes: Names = ("depth", "channels", "size", "pattern", "bits", "recovery")
    keep: Annotated[tuple[str, ...], Field(strict=False)] = ()
    min_channels_fraction: Annotated[float, Field(ge=0.1, le=1)] = 0.25
    bits: Annotated[tuple[Literal[4, 8, 16, 32], ...], Field(strict=False, min_length=1)] | None = None
    patterns: Annotated[tuple[Literal["unstructured", "2:4", "block:4x1"], ...], Field(strict=False)] | None = None

    criterion: Literal["l2", "l1", "taylor", "bn_scale", "random", "compared"] = "l2"
    embeddings: bool = False
    recurrent: bool = False

    @model_validator(mode="after")
    def _named_once(self) -> SpaceSection:
        named_once("axes", self.axes)
        return self

    @model_validator(mode="after")
    def _one_axis_decides_widths(self) -> SpaceSection:
        if {"width", "channels"} <= set(self.axes):
            raise ValueError(
                "axes names both width and channels: channels already decides the width of every group; keep one"
            )
        return self


class SearchSection(Section):
    """Says how the front is found.

    Attributes:
        trials: Number of trials after which a search ends.
        minutes: Minutes after which it ends.
        patience: Minutes without a change of the front under the budget after which it ends.
        objectives: Names of what is made as good as possible.
        seed: Of everything that the search draws.
        workers: Trials at a time.
        executor: Name of what runs the trials.
        address: Of the Ray cluster: "auto" for the one that this machine has joined, or "host:port".
        cpus_per_job: Cores that a job has on a Ray cluster. Without it 4, or fewer where a machine has fewer.
        gpus_per_job: GPUs that a job has there; parts of one are shared.
        shared: Whether the machines of the cluster see the folder of runs by the same path, so that weights and models
            need not travel.
        sampler: What proposes plans.
        infeasible: What the sampler is told of plans over the budget.
        eta: Of the students that reach a rung, one in so many goes on.
        without: Parts of the search that are left out, to see what they are worth.
        baselines: What is made by hand for comparison: "default" for a few models, "all" for these and every technique
            with as much time as the search has, "none" for the teacher alone, or names of techniques.
        storage: Address of a database server that keeps the rows of trials, such as
            "postgresql+psycopg://user@host/database"; without it they lie in the study's folder. Passwords are better
            left to PGPASSWORD or ~/.pgpass; one that stands here is written nowhere, nor is the rest in JSON.
        checkpoints_gb: Gigabytes for checkpoints: beyond, those go that nobody needs, then those of who goes on last.
    """

    trials: Count | None = None
    minutes: Positive | None = None
    patience: Positive | None = None
    objectives: Names = ("accuracy", "latency_ms")
    seed: Seed = 0
    workers: Count = 1
    executor: str = "local"
    address: str = ""
    cpus_per_job: Count | None = None
    gpus_per_job: Annotated[float, Field(ge=0)] = 0.0
    shared: bool = False
    sampler: Literal["auto", "tpe", "gp", "random", "nsga2"] = "auto"
    infeasible: Literal["reject", "constraint"] = "reject"
    eta: Count = 2
    without: Annotated[tuple[Part, ...], Field(strict=False)] = ()
    baselines: Names = ("default",)
    storage: Annotated[str, Field(repr=False), PlainSerializer(lambda address: "", when_used="json")] = ""
    checkpoints_gb: Positive = 20.0

    @field_validator("shared", mode="before")
    @classmethod
    def _shared_is_no_path(cls, given: object) -> object:
        if isinstance(given, str):
            raise ValueError(
                f"{given!r} is no answer; allowed: true or false. The folder itself is given by --runs: one of a disk "
                "that all machines see by the same path"
            )
        return given

    @model_validator(mode="after")
    def _named_once(self) -> SearchSection:
        named_once("objectives", self.objectives)
        return self

    @model_validator(mode="after")
    def _patience_has_a_front(self) -> SearchSection:
        if self.patience is not None and not {"accuracy", "latency_ms"} <= set(self.objectives):
            raise ValueError("patience watches accuracy and latency_ms: both must be objectives")
        return self


class StudySections(Section):
    """All sections of a study file."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)] = "study"
    task: TaskSection = TaskSection()
    data: DataSection = DataSection()
    teacher: TeacherSection = TeacherSection()
    target: TargetSection = TargetSection()
    budget: BudgetSection = BudgetSection()
    space: SpaceSection = SpaceSection()
    recovery: RecoverySection = RecoverySection()
    search: SearchSection = SearchSection()

    def budgets(self) -> dict[str, float]:
        """Return target name -> latency budget (ms), of the targets that have one.

        Raises:
            StudyFileError: A budget is for a target that the study does not have.
        """
        names = [target.name for target in self.target.targets()]
        for name in self.budget.on:
            if name not in names:
                raise StudyFileError(f"[budget.on] names {name!r}; allowed: the study's targets, {', '.join(names)}")
        found = {name: self.budget.on.get(name, self.budget.latency_ms) for name in names}
        return {name: limit for name, limit in found.items() if limit is not None}
