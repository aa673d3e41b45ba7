"""What ways of quantizing activations and embeddings give on ONNX Runtime, beside float and int8 over known ranges.

    python benchmarks/activation_ways.py [--tokens 16 128] [--rows 1 8 64] [--widths 64 256] [--seconds 1]

An encoder of BERT's form (package transformers), a network of linear layers and recurrent layers, all with random
weights, are exported as students are and built in each way. Files of one network and size take turns in the same
processes, so that ratios to its float file hardly depend on what else runs. Errors are of outputs, as parts of the
largest; they say nothing of accuracy.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from fused_attention import Encoder
from networks import machine_line
from torch import nn

from autocompress.compression.export import Template, make_template
from autocompress.evaluators.bench import bench
from autocompress.evaluators.runtimes.base import BuildRequest
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import predict, relative_difference
from autocompress.evaluators.timing.processes import TimedFile
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.target import Target

WORDS, WIDTH, LAYERS = 8000, 192, 6
CALIBRATION = 32


@dataclass(frozen=True)
class Way:
    """How all linear layers and embeddings of a file are quantized.

    Attributes:
        name: For the table.
        bits: Of linear layers.
        activations: "dynamic" or "float", empty over known ranges.
        tables: Bits of embeddings.
        recurrent: "dynamic" or "float" where recurrent layers have 8 bits.
    """

    name: str
    bits: int = 32
    activations: str = ""
    tables: int = 32
    recurrent: str = ""

    def numbers(self, template: Template) -> tuple[dict[str, int], dict[str, str]]:
        """Return the bits and the activations of a file's layers."""
        layers, tables = template.layers.values(), template.tables.values()
        bits = {**dict.fromkeys(layers, self.bits), **dict.fromkeys(tables, self.tables)}
        ways = dict.fromkeys(layers, self.activations) if self.activations else {}
        if self.recurrent:
            bits |= dict.fromkeys(template.recurrent.values(), 8)
            ways |= dict.fromkeys(template.recurrent.values(), self.recurrent)
        return {layer: width for layer, width in bits.items() if width < 32}, ways


PLAIN = Way("float")
WAYS = (
    PLAIN,
    Way("int8, known ranges", 8),
    Way("int8, dynamic", 8, "dynamic"),
    Way("int8, weights only", 8, "float"),
    Way("int4, stored only", 4),
    Way("int4, weights only", 4, "float"),
)
WITH_TABLES = (
    Way("int8 and int8 embeddings", 8, tables=8),
    Way("int8 and int4 embeddings", 8, tables=4),
    Way("int4 weights only, int4 embeddings", 4, "float", tables=4),
)
STORED = Way("int8, stored only", recurrent="float")
RECURRENT = {"LSTM": (PLAIN, Way("int8, dynamic", recurrent="dynamic"), STORED), "GRU": (PLAIN, STORED)}
STEPS = 50


@dataclass(frozen=True)
class Case:
    """A network with inputs.

    Attributes:
        name: For the table.
        module: The captured network.
        inputs: [M, ...].
        ways: How files of it are built.
        batch: Inputs per inference.
        example: Inputs that it is exported with; a batch of one is freed without a symbol.
    """

    name: str
    module: nn.Module
    inputs: torch.Tensor
    ways: tuple[Way, ...] = WAYS
    batch: int = 1
    example: int = 2

    def show(self, seconds: float, processes: int) -> None:
        """Build the files, measure them, and print a row for each."""
        runtime, target = get_runtime("onnxruntime"), Target("onnxruntime", batch=self.batch)
        template = make_template(self.module, self.inputs[: self.example], symbolic_batch=self.example > 1)
        given, files, rows, expected = self.inputs.numpy(), [], [], None
        print(self.name)
        with tempfile.TemporaryDirectory() as folder:
            for number, way in enumerate(self.ways):
                path = Path(folder) / f"{number}.onnx"
                bits, ways = way.numbers(template)
                model = template.write(self.module)
                request = BuildRequest(
                    model,
                    template.layers,
                    bits,
                    given,
                    self.module,
                    tables=template.tables,
                    recurrent=template.recurrent,
                    activations=ways,
                )
                runtime.build(request, path)
                got = predict(path, runtime, target, given)
                expected = got if expected is None else expected
                operators = runtime.inspect(path, target)
                told = runtime.remark(operators, request.widths)
                rows.append((way.name, path.stat().st_size, relative_difference(got, expected), told))
                files.append(TimedFile(path, target))
            for (name, size, off, told), latency in zip(
                rows, bench(files, processes=processes, max_seconds=seconds), strict=True
            ):
                print(
                    f"    {name:35} {latency.ratio:.3f} ({latency.ratio_low:.3f} to {latency.ratio_high:.3f})  "
                    f"{latency.p50_ms:8.3f} ms  {size / 1e6:6.2f} MB ({size / rows[0][1]:.3f})  error {off:.4f}"
                    + (f"  [{told}]" if told else "")
                    + ("  [disturbed]" if latency.disturbed else ""),
                    flush=True,
                )


def encoder(tokens: int) -> Case:
    """Return an encoder that reads so many tokens."""
    inputs = torch.randint(WORDS, (CALIBRATION, tokens))
    module = capture(Encoder(WIDTH, LAYERS, WORDS).eval(), inputs[:1])
    return Case(f"encoder, {tokens} tokens", module, inputs, (*WAYS, *WITH_TABLES))


def perceptron(rows: int) -> Case:
    """Return linear layers that take so many rows at a time."""
    parts = [part for _ in range(3) for part in (nn.Linear(1024, 1024), nn.ReLU())]
    inputs = torch.randn(max(CALIBRATION, rows), 1024)
    module = capture(nn.Sequential(*parts, nn.Linear(1024, 10)).eval(), inputs[:1])
    return Case(f"linear layers 1024 wide, {rows} rows", module, inputs, batch=rows)


class Reader(nn.Module):
    """A recurrent layer as wide as what it reads, and a linear layer."""

    def __init__(self, kind: str, width: int) -> None:
        super().__init__()
        self.memory, self.head = getattr(nn, kind)(width, width, batch_first=True), nn.Linear(width, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return [N, 10] of sequences [N, T, width]."""
        return self.head(self.memory(x)[0][:, -1])


def reader(kind: str, width: int) -> Case:
    """Return a recurrent layer that reads STEPS steps."""
    inputs = torch.randn(CALIBRATION, STEPS, width)
    module = capture(Reader(kind, width).eval(), inputs[:1])
    return Case(f"{kind}, {width} wide, {STEPS} steps", module, inputs, RECURRENT[kind], example=1)


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", nargs="*", type=int, default=[16, 128])
    parser.add_argument("--rows", nargs="*", type=int, default=[1, 8, 64])
    parser.add_argument("--widths", nargs="*", type=int, default=[32, 64, 128, 256, 512], help="Of recurrent layers.")
    parser.add_argument("--seconds", type=float, default=1.0, help="Of timing per file and process.")
    parser.add_argument("--processes", type=int, default=3)
    options = parser.parse_args()
    torch.manual_seed(0)
    print(f"{machine_line()}; 1 thread, {options.processes} processes; ratios to the float file")
    for tokens in options.tokens:
        encoder(tokens).show(options.seconds, options.processes)
    for rows in options.rows:
        perceptron(rows).show(options.seconds, options.processes)
    for kind in RECURRENT:
        for width in options.widths:
            reader(kind, width).show(options.seconds, options.processes)


if __name__ == "__main__":
    main()
