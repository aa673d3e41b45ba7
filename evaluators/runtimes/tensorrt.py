"""TensorRT and TensorRT for RTX: engines for NVIDIA GPUs. RTX, the extra `tensorrt-rtx`, builds them without one."""

from __future__ import annotations

import importlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ...cache import user_cache
from ...errors import MeasurementError, RuntimeUnavailable, StorageError, one_line
from ...files import write_bytes
from ...spaces.target import Capabilities, Target
from .base import Availability, BuildRequest, Loaded
from .tensorrt_engine import LoadedEngine, gpu
from .tensorrt_words import LAYERS, layer_words, make_logger, network_words, words

LARGEST_BATCH = 128
"""Images that an engine with a free batch can take; it holds GPU memory for as many."""


class TensorRt:
    """TensorRT (https://docs.nvidia.com/deeplearning/tensorrt), versions 10 and 11.

    It builds on the GPU that an engine is for. Each layer runs in its own bits: float32 (never TF32), float16 or int8.
    The copies of input and output belong to the latency.
    """

    name = "tensorrt"
    suffix = ".engine"
    synchronous = False

    # What differs between versions 10 and 11, and in the class below, TensorRT for RTX.
    _modules: tuple[str, ...] = ("tensorrt",)
    _install = "pip install tensorrt"
    _builds_anywhere = False
    _kernels: Mapping[int, str] = {32: "f32", 16: "f16", 8: "int8", 4: "f16"}
    """Bits -> the precision that such a layer is computed in."""

    def _network_flags(self, trt: Any) -> int:
        # version 11 always is strongly typed, and has its flag only for old times' sake
        old = int(trt.__version__.partition(".")[0]) < 11
        return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED) if old else 0

    def _timing_cache(self, trt: Any) -> Path | None:
        # kernels timed once are not timed again: builds are faster, and equal layers get equal kernels
        return user_cache() / f"tensorrt-{trt.__version__}.timing"

    def _choose_gpu(self, trt: Any, config: Any) -> None:
        # it is the GPU of this machine
        return

    def _context(self, trt: Any, engine: Any) -> Any:
        return engine.create_execution_context()

    # From here on they are alike.

    def available(self) -> Availability:
        """Return whether its library can be imported and there is a GPU. It never raises."""
        try:
            version = str(self._library().__version__)
        except RuntimeUnavailable as error:
            return Availability(False, str(error), devices=("cuda",))
        missing = gpu()[1]
        if missing and self._builds_anywhere:
            reason = f"{missing}: engines can be built here, not run; run them on a machine with an NVIDIA GPU"
        else:
            reason = missing and f"{missing}: engines are built and run on the GPU they are for; use such a machine"
        return Availability(not missing, reason, version, ("cuda",), bool(missing) and self._builds_anywhere)

    def capabilities(self, target: Target) -> Capabilities:
        """Return what the GPU's kernels can use.

        These are float16 and int8, and 2:4 zeros from Ampere on (assumed where there is no GPU to ask). Tensor cores
        read 16 bytes at a time: 16 channels of int8, 8 of float16, so 16 suits both (NVIDIA's Deep Learning Performance
        Guide).

        Raises:
            RuntimeUnavailable: The device is not "cuda".
        """
        self._check(target)
        patterns = ("2:4",) if (gpu()[0] or (8, 0)) >= (8, 0) else ()
        return Capabilities((32, 16, 8), storage_bits=(), channel_multiple=16, patterns=patterns, one_input=True)

    def build(self, request: BuildRequest, path: Path) -> None:
        """Write an engine; with a free batch, one for up to LARGEST_BATCH images that is best at the target's.

        Raises:
            MeasurementError: TensorRT does not take this network or these bits.
            RuntimeUnavailable: It is not installed, or has no GPU to build on.
        """
        path.write_bytes(self.compiled(request, str(path))[0])

    def compiled(self, request: BuildRequest, what: str) -> tuple[bytes, Counter[str]]:
        """Return an engine, and what the network that it was built from consists of.

        Args:
            request: The student and what is asked for.
            what: The engine's name in errors.

        Returns:
            The engine, and "layer type in precision" -> count.

        Raises:
            MeasurementError: TensorRT does not take this network or these bits.
            RuntimeUnavailable: It is not installed, or has no GPU to build on.
        """
        from .tensorrt_quantize import has_two_four, typed

        trt, missing = self._library(), gpu()[1]
        if missing and not self._builds_anywhere:
            raise RuntimeUnavailable(f"{self.name}: {missing}; build on the machine that the engine is for")
        try:
            activations = self._kernels[8] == "int8"  # nothing is gained by rounding them for any other kernel
            model = typed(request.model, request.layers, request.bits, request.one_input(self.name), activations)
        except Exception as error:
            raise MeasurementError(f"{what}: cannot be quantized: {one_line(error)}") from error
        logger = make_logger(trt)
        builder = trt.Builder(logger)
        network = builder.create_network(self._network_flags(trt))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse(model.SerializeToString()):
            first = parser.get_error(0)
            told = f"{first.code().name} at {first.node_operator()} {first.node_name()!r}: {first.desc()}"
            raise MeasurementError(f"{what}: {self.name} cannot read it: {one_line(told)}")
        config = builder.create_builder_config()
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default, and ten bits of mantissa are not float32
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # what `inspect` reads
        if has_two_four(request.model, request.layers):
            config.set_flag(trt.BuilderFlag.SPARSE_WEIGHTS)
        batch, *rest = network.get_input(0).shape
        if batch < 0:
            profile = builder.create_optimization_profile()
            usual, most = request.target_batch, max(request.target_batch, LARGEST_BATCH)
            profile.set_shape(network.get_input(0).name, (1, *rest), (usual, *rest), (most, *rest))
            config.add_optimization_profile(profile)
        self._choose_gpu(trt, config)
        cache = self._timing_cache(trt)
        if cache:
            known = cache.read_bytes() if cache.is_file() else b""
            config.set_timing_cache(config.create_timing_cache(known), False)
        engine = builder.build_serialized_network(network, config)
        if engine is None:
            raise MeasurementError(f"{what}: {self.name} cannot build it: {one_line(' '.join(logger.errors))}")
        if cache:
            with suppress(StorageError, OSError):  # without it, builds only take longer
                write_bytes(cache, bytes(config.get_timing_cache().serialize()))
        return bytes(engine), Counter(network_words(network))

    def remark(self, operators: Mapping[str, int], bits: Sequence[int]) -> str:
        """Compare the precisions in the engine with those asked for.

        Layers can hide in fused kernels, and attention multiplies without being a layer, so that only what neither
        explains is told: too many in one precision.
        """
        asked = Counter(self._kernels[b] for b in bits)
        built: Counter[str] = Counter()
        for name, count in operators.items():
            kind, _, precision = name.partition(" in ")
            if LAYERS.search(kind):
                built[precision] += count
        if (built - asked).total() <= max(0, built.total() - len(bits)):
            return ""
        return f"layers run in {words(built)}, asked for {words(asked)}"

    def load(self, path: Path, target: Target) -> Loaded:
        """Load an engine; TensorRT for RTX compiles its kernels now. See `Runtime.load` for what it raises."""
        return self._loaded(path, target)

    def inspect(self, path: Path, target: Target) -> dict[str, int]:
        """Return "layer type in precision" -> count, of the engine; see `Runtime.inspect` for what it raises."""
        loaded = self._loaded(path, target)
        batch, *rest = loaded.inputs[0].shape
        loaded.fit((batch or target.batch, *rest))  # types are told only once the shapes are known
        inspector = loaded.engine.create_engine_inspector()
        inspector.execution_context = loaded.context
        told = inspector.get_engine_information(self._library().LayerInformationFormat.JSON)
        return dict(sorted(Counter(layer_words(layer) for layer in json.loads(told)["Layers"]).items()))

    def _loaded(self, path: Path, target: Target) -> LoadedEngine:
        self._check(target)
        if not path.is_file():
            raise MeasurementError(f"{path}: no such file; give an {self.suffix} file")
        trt, missing = self._library(), gpu()[1]
        if missing:
            raise RuntimeUnavailable(f"{self.name}: {missing}; engines run on a machine with an NVIDIA GPU")
        logger = make_logger(trt)
        runtime = trt.Runtime(logger)
        engine = runtime.deserialize_cuda_engine(path.read_bytes())
        context = None if engine is None else self._context(trt, engine)
        if context is None:
            told = one_line(" ".join(logger.errors))
            raise MeasurementError(f"{path}: {self.name} cannot load it: {told}; build it for this GPU and version")
        return LoadedEngine(path, trt, engine, context, target.batch, (logger, runtime))

    def _library(self) -> Any:
        problem = ""
        for module in self._modules:
            try:
                return importlib.import_module(module)
            except Exception as error:
                problem = one_line(error)
        raise RuntimeUnavailable(f"{self.name}: {problem}; {self._install}")

    def _check(self, target: Target) -> None:
        if target.device != "cuda":
            raise RuntimeUnavailable(f"{self.name}: unknown device {target.device!r}, allowed: cuda; change the target")


class TensorRtRtx(TensorRt):
    """TensorRT for RTX (https://docs.nvidia.com/deeplearning/tensorrt-rtx).

    Where there is no GPU, engines are for all of Ampere and newer; its kernels are compiled when an engine is loaded.
    8 bits are int8 weights beside float16.
    """

    name = "tensorrt_rtx"
    _modules = ("tensorrt_rtx", "tensorrt_rtx_bindings")
    _install = "pip install 'autocompress[tensorrt-rtx]'"
    _builds_anywhere = True
    _kernels: Mapping[int, str] = {32: "f32", 16: "f16", 8: "f16", 4: "f16"}

    def capabilities(self, target: Target) -> Capabilities:
        """Return what the GPU's kernels can use: float16 pays, int8 does not.

        There are no int8 kernels for convolutions, so that 8 bits are stored weights: engines become smaller than in 16
        bits where layers hold more than some 75 thousand of them, and larger where less. Sparse kernels are not
        documented.

        Raises:
            RuntimeUnavailable: The device is not "cuda".
        """
        self._check(target)
        return Capabilities(latency_bits=(32, 16), storage_bits=(8,), channel_multiple=8, one_input=True)

    def _network_flags(self, trt: Any) -> int:
        return 0

    def _timing_cache(self, trt: Any) -> Path | None:
        return None  # it times nothing

    def _choose_gpu(self, trt: Any, config: Any) -> None:
        if not gpu()[1]:
            config.num_compute_capabilities = 1
            config.set_compute_capability(trt.ComputeCapability.CURRENT, 0)

    def _context(self, trt: Any, engine: Any) -> Any:
        settings = engine.create_runtime_config()
        settings.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        # the default lets better kernels take over in the middle of a measurement
        settings.dynamic_shapes_kernel_specialization_strategy = trt.DynamicShapesKernelSpecializationStrategy.EAGER
        return engine.create_execution_context(settings)


def network_summary(runtime: TensorRt, request: BuildRequest) -> str:
    """Build an engine and return in one line what it was built from, which needs no GPU for TensorRT for RTX.

    The precisions are those of the network as parsed; what really runs is told by `inspect`. See `TensorRt.build` for
    what it raises.
    """
    engine, kinds = runtime.compiled(request, "network")
    layers = {kind: count for kind, count in kinds.items() if LAYERS.search(kind)}
    return f"{sum(kinds.values())} network layers ({words(layers)}), engine of {len(engine)} bytes"
