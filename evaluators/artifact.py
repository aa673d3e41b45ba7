"""The one place that turns a network into a file for a target, and holds the file against the network."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from ..compression.export import Template
from ..compression.quantization_edits import EDITS, EQUALIZED, FOR_EDITS
from ..errors import ExportError, MeasurementError, TrialFailed
from ..files import PARTIAL, move, remove
from ..spaces.graph.devices import moved
from ..spaces.inputs import Inputs, call, count_of, divided, joined, rows_of
from ..spaces.spec import PLAIN, StudentSpec
from ..spaces.target import Target
from .activations import MINMAX_ALWAYS, Activations, Calibrated, calibrated, inputs_for_ranges, judged
from .any_batch import OTHER_BATCH, check_file, check_graph
from .batching import FIRST, Batching, batchings
from .request_numbers import with_numbers
from .runtimes.base import BuildRequest, Ranges, Runtime
from .runtimes.calibrating import TRAINED
from .score import PARITY, as_arrays, predict, relative_difference
from .templates import COMPARED, Templates


@dataclass(frozen=True)
class Artifact:
    """A file that was built.

    Attributes:
        path: The file, or the folder where that is the runtime's form.
        bits: Bits asked for, as `BuildRequest.widths` has them; `Runtime.remark` compares them with what runs.
        difference: Largest difference of the float form from its network, relative to the largest output; None where
            the runtime cannot run files here.
        calibration: Method by which the ranges of 8-bit activations were found, with "+equalized" and "+biases" where
            weights were edited so; empty where there are none.
    """

    path: Path
    bits: tuple[int, ...]
    difference: float | None
    calibration: str = ""


class ArtifactBuilder:
    """Builds files of a network and its students for one target.

    The first file of a network, the teacher or a student of the user's own, decides how all of its files take batches.

    Attributes:
        runtime: The target's runtime.
        target: Where files run.
        templates: Of the networks.
    """

    def __init__(
        self,
        runtime: Runtime,
        target: Target,
        templates: Templates,
        calibration: Inputs,
        samples: Inputs,
        activations: Activations = MINMAX_ALWAYS,
    ) -> None:
        """Build nothing yet.

        Args:
            runtime: The target's runtime. One that only builds here has its files built and not checked.
            target: Where files run.
            templates: Of the network.
            calibration: Inputs [M, ...] of the calibration split, for the ranges of activations.
            samples: Inputs [N, ...] on which each file in 32 bits is held against its network.
            activations: How the ranges of 8-bit activations are found.
        """
        self.runtime, self.target, self.templates = runtime, target, templates
        self._batchings: dict[str, Batching] = {}
        self._calibration, self._samples, self._activations = calibration, samples, activations
        self._runs = runtime.available().ok

    def batching(self, student: str = "") -> Batching:
        """Return how files cut from the network of this name take batches; freely before the first of them."""
        return self._batchings.get(student, FIRST)

    def teacher_file(self, path: Path) -> Template:
        """Build the file of the network itself, which decides how batches are handled.

        Args:
            path: Where the file is to lie. One that lies there already stays: latencies were compared with it.

        Returns:
            The template that students are written into.

        Raises:
            ExportError: The network cannot be exported, or its file does not agree with it.
            MeasurementError: The runtime cannot build or run it.
        """
        part = _beside(path, "file")
        try:
            self._float_file(self.templates.network, PLAIN, part, 2)
            if not path.exists():
                move(part, path)
        except TrialFailed as failed:
            raise ExportError(f"{self.target.name} does not run this network right: {failed}") from failed
        finally:
            remove(part)
        return self.templates.get(self._batchings[""].batch)

    def build(
        self,
        module: nn.Module,
        spec: StudentSpec,
        path: Path,
        calibration_count: int | None = None,
        trained: Ranges | None = None,
    ) -> Artifact:
        """Build a student's file: in 32 bits first, held against the student, then with its bits.

        Args:
            module: The student; it is put on the CPU and in eval mode.
            spec: What became of the network; its bits and its structure count here.
            path: Where the file is to lie; what lies there is replaced once the file is whole.
            calibration_count: Calibration inputs to use, None for all. A file that is only timed needs few, as latency
                does not depend on ranges, and none are chosen for it.
            trained: Layer name -> range of its inputs, as quantization-aware training has learned it.

        Raises:
            TrialFailed: The file in 32 bits differs from the student by more than `PARITY`.
            ExportError: The student has an operator that cannot be exported.
            MeasurementError: The runtime cannot build or run it.
        """
        module = moved(module, "cpu").eval()
        plain, part = _beside(path, "float"), _beside(path, "file")
        count = count_of(self._calibration) if calibration_count is None else calibration_count
        bits, method = spec.realised(spec.bits), ""
        try:
            request, difference = self._float_file(module, spec.structure(), plain, count)
            if bits:
                request = with_numbers(request, spec, trained or {}, self.runtime.capabilities(self.target))
                if calibration_count is None:
                    found = self._calibrated(module, spec, request, plain)
                    request, method = found.request, found.method
                self.runtime.build(request, part)
            move(part if bits else plain, path)
        finally:
            remove(plain)
            remove(part)
        return Artifact(path, request.widths, difference if self._runs else None, method)

    def difference(self, path: Path, module: nn.Module, inputs: Inputs | None = None, student: str = "") -> float:
        """Return how far a file's outputs are from its network's.

        Args:
            path: The file.
            module: The network, on the CPU and in eval mode.
            inputs: Inputs [N, ...]; by default the samples.
            student: Name of the network of the user's own that it is cut from; empty for the teacher.

        Returns:
            The largest absolute difference, relative to the largest output, at the target's batch and, where files
            take any, at another.

        Raises:
            MeasurementError: The file cannot be loaded or run.
        """
        inputs = self._samples if inputs is None else inputs
        free, parts = self.batching(student).free, divided(inputs, self.target.batch)
        with torch.no_grad():
            expected = call(module, inputs) if free else torch.cat([self._answers(module, p) for p in parts])
        wanted, others = expected.float().numpy(), {OTHER_BATCH} if free else set()
        return max(
            relative_difference(predict(path, self.runtime, target, as_arrays(inputs)), wanted)
            for target in (replace(self.target, batch=batch) for batch in {self.target.batch} | others)
        )

    def _calibrated(self, module: nn.Module, spec: StudentSpec, request: BuildRequest, plain: Path) -> Calibrated:
        """Find ranges, and where they are judged, whether edits of the weights make the file better still."""
        found = calibrated(self._activations, request, self.runtime, self.target, plain if self._runs else None)
        if found.loss is None:
            return found
        many = min(FOR_EDITS, inputs_for_ranges(count_of(self._calibration)))
        few = slice(0, many if self.batching(spec.student).free else self.target.batch)
        inputs, top = rows_of(self._calibration, few), self.runtime.capabilities(self.target).weight_top
        for name, edit in EDITS.items():
            if name == EQUALIZED and found.method == TRAINED:
                continue  # those ranges are of the channels as they were
            edited = edit(module, found.request.static_bits, inputs, top)
            better = None if edited is None else self._edited(edited, spec, found, plain)
            if edited is not None and better is not None:
                module, found = edited, replace(better, method=found.method + name)
        return found

    def _edited(self, module: nn.Module, spec: StudentSpec, before: Calibrated, plain: Path) -> Calibrated | None:
        """Return an edited student with its ranges; None where its file is not better than the one before."""
        method = before.method.partition("+")[0]
        other = _beside(plain, "edited")
        try:
            request, _ = self._float_file(module, spec.structure(), other, count_of(self._calibration))
            request = with_numbers(request, spec, before.request.trained, self.runtime.capabilities(self.target))
            losses = judged(self._activations, request, self.runtime, self.target, plain, [method])
            loss = losses.get(method, float("inf"))
        except (TrialFailed, ExportError, MeasurementError):  # it is held against its own network, as any other
            return None
        finally:
            remove(other)
        if before.loss is None or not loss < before.loss:
            return None
        with_its_own = replace(self._activations, method=method)
        return replace(calibrated(with_its_own, request, self.runtime, self.target, None), loss=loss)

    def _answers(self, module: nn.Module, inputs: Inputs) -> torch.Tensor:
        # a network that fixes its batch takes no other number
        count = count_of(inputs)
        filled = joined([inputs, *[rows_of(inputs, slice(-1, None))] * (self.target.batch - count)])
        answers: torch.Tensor = call(module, filled)
        return answers[:count]

    def _float_file(
        self, module: nn.Module, structure: StudentSpec, path: Path, count: int
    ) -> tuple[BuildRequest, float]:
        path.parent.mkdir(parents=True, exist_ok=True)
        only = self.templates.exact and module is self.templates.network  # no other export could be right
        student, how = structure.student, self.batching(structure.student)
        if student not in self._batchings:
            request, how = self._decide_batch(module, structure, path, count)
            off = self._off(path, module, student)
        elif self.templates.exact and not only:
            off = float("inf")  # a template of the network itself would write that
        else:
            try:
                request = self._request(module, self.templates.get(how.batch, structure), count, how)
                self.runtime.build(request, path)
                off = self._off(path, module, student)
            except Exception:  # whatever a runtime makes of a graph that cannot be rewritten
                if only:
                    raise
                off = float("inf")
            if not off <= PARITY and self.templates.export_anew(how.batch, structure):
                return self._float_file(module, structure, path, count)
        if not off <= PARITY and not only:
            # weights that the exporter stores in another form cannot be written into it, nor numbers not learned yet
            template = self.templates.exported(module, how.batch, exact=True)
            request = self._request(module, template, count, how)
            self.runtime.build(request, path)
            off = self._off(path, module, student)
            if off <= PARITY and not self.templates.exact:
                self.templates.teach(how.batch, structure, module, template)
        if not off <= PARITY:  # nor where it is no number
            raise TrialFailed(f"the exported file differs from its student by {off:.2g} of the largest output")
        return request, off

    def _off(self, path: Path, module: nn.Module, student: str) -> float:
        return self.difference(path, module, student=student) if self._runs else 0.0

    def _decide_batch(
        self, module: nn.Module, structure: StudentSpec, path: Path, count: int
    ) -> tuple[BuildRequest, Batching]:
        for how in batchings(self.target):
            try:
                template = self.templates.get(how.batch, structure)
            except ExportError:
                if how.batch != COMPARED:
                    raise
                continue
            request = self._request(module, template, count, how)
            try:
                if how.free:
                    check_graph(request.model, self._samples)
                self.runtime.build(request, path)
                if self._runs:
                    check_file(path, self.runtime, self.target, self._samples)
            except MeasurementError:
                if not how.free:
                    raise
            else:
                self._batchings[structure.student] = how
                return request, how
        raise AssertionError("one of the forms is built or raises")

    def _request(self, module: nn.Module, template: Template, count: int, how: Batching) -> BuildRequest:
        model = template.write(module)
        if not how.free:
            for value in (*model.graph.input, *model.graph.output):
                value.type.tensor_type.shape.dim[0].dim_value = self.target.batch
        # a graph of a fixed batch needs a full one for its ranges
        many, calibration = max(count, self.target.batch), self._calibration
        if not how.free and count_of(calibration) < many:
            calibration = rows_of(calibration, torch.arange(many) % count_of(calibration))
        inputs = as_arrays(rows_of(calibration, slice(0, many)))
        batches = (template.batch, self.target.batch)
        return BuildRequest(
            model, template.layers, {}, inputs, module, *batches, tables=template.tables, recurrent=template.recurrent
        )


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{PARTIAL}{what}-{secrets.token_hex(6)}-{path.name}")
