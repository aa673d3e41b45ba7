"""Does a fused form of attention make an encoder's file faster? Ratios to the file as it is exported.

    python benchmarks/fused_attention.py [--tokens 32 128 384] [--width 256] [--layers 4] [--threads 1]

A BERT-like encoder with random weights (package transformers) is exported as a student is. Beside that file run: what
the optimizer of `onnxruntime.transformers` makes of it, ONNX Runtime's operator MultiHeadAttention in place of what
attention was exported as, and attention without the guard of PyTorch behind its softmax, for rows that are masked.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import torch
from networks import machine_line
from torch import Tensor, nn

from autocompress.compression.export import make_template
from autocompress.evaluators.bench import bench
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.evaluators.score import predict
from autocompress.evaluators.timing.processes import TimedFile
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.target import Target

HEAD, WORDS = 64, 2000


class Encoder(nn.Module):
    """A classifier of BERT's form that takes token numbers [N, T] and gives logits [N, 4]."""

    def __init__(self, width: int, layers: int, words: int = WORDS) -> None:
        super().__init__()
        from transformers import BertConfig, BertForSequenceClassification

        config = BertConfig(
            vocab_size=words, hidden_size=width, num_hidden_layers=layers, num_attention_heads=width // HEAD,
            intermediate_size=4 * width, num_labels=4,
        )  # fmt: skip
        self.network = BertForSequenceClassification(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.network(tokens).logits
        return logits


class Graph:
    """A copy of a graph whose operators can be taken out."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = onnx.ModelProto()
        self.model.CopyFrom(model)
        self.nodes = list(self.model.graph.node)
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.users[name].append(node)

    def before(self, node: onnx.NodeProto, *inputs: int) -> onnx.NodeProto:
        """Return the node that is reached by these inputs, one after the other."""
        for index in inputs:
            node = self.maker[node.input[index]]
        return node

    def finished(self) -> onnx.ModelProto:
        """Return the model without what nothing uses any more."""
        wanted, kept = {value.name for value in self.model.graph.output}, []
        for node in reversed(self.nodes):
            if wanted & set(node.output):
                kept.append(node)
                wanted |= set(node.input)
        del self.model.graph.node[:]
        self.model.graph.node.extend(reversed(kept))
        return self.model


def without_guard(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model in which the products of attention take the softmax itself."""
    graph = Graph(model)
    for softmax in [node for node in graph.nodes if node.op_type == "Softmax"]:
        guard = next(node for node in graph.users[softmax.output[0]] if node.op_type == "Where")
        for product in graph.users[guard.output[0]]:
            product.input[0] = softmax.output[0]
    return graph.finished()


def with_heads(model: onnx.ModelProto, heads: int) -> onnx.ModelProto:
    """Return the model with MultiHeadAttention in place of products, softmax and transpositions."""
    graph = Graph(model)
    for softmax in [node for node in graph.nodes if node.op_type == "Softmax"]:
        masked = graph.before(softmax, 0)
        product = graph.before(masked, 0)
        query = graph.before(product, 0, 0, 0).input[0]
        key = graph.before(product, 1, 0, 0, 0, 0, 0).input[0]
        guard = next(node for node in graph.users[softmax.output[0]] if node.op_type == "Where")
        answers = graph.users[guard.output[0]][0]
        value = graph.before(answers, 1, 0).input[0]
        last = graph.users[graph.users[answers.output[0]][0].output[0]][0]
        inputs = [query, key, value, "", "", masked.input[1]]
        fused = onnx.helper.make_node(
            "MultiHeadAttention", inputs, list(last.output), domain="com.microsoft", num_heads=heads
        )
        graph.nodes[graph.nodes.index(last)] = fused
    graph.model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    return graph.finished()


def optimized(model: onnx.ModelProto, heads: int, width: int) -> onnx.ModelProto:
    """Return what the optimizer of `onnxruntime.transformers` makes of the model."""
    from onnxruntime.transformers.fusion_options import FusionOptions
    from onnxruntime.transformers.optimizer import optimize_model

    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, path := str(Path(folder) / "model.onnx"))
        found = optimize_model(
            path, "bert", num_heads=heads, hidden_size=width, opt_level=0, optimization_options=FusionOptions("bert")
        )
    print("    fused:", {name: count for name, count in found.get_fused_operator_statistics().items() if count})
    model_found: onnx.ModelProto = found.model
    return model_found


def main() -> None:
    """Measure what the command line asks for, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", nargs="+", type=int, default=[32, 128, 384])
    parser.add_argument("--width", type=int, default=256, help=f"A multiple of {HEAD}.")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--processes", type=int, default=5)
    options = parser.parse_args()
    torch.manual_seed(0)
    heads, runtime = options.width // HEAD, get_runtime("onnxruntime")
    forms: dict[str, Callable[[onnx.ModelProto], onnx.ModelProto]] = {
        "as exported": lambda model: model,
        "onnxruntime.transformers": partial(optimized, heads=heads, width=options.width),
        "MultiHeadAttention": partial(with_heads, heads=heads),
        "without the guard": without_guard,
    }
    target = Target("onnxruntime", threads=options.threads)
    print(f"{machine_line()}; batch 1, {options.threads} threads, {options.layers} layers of {options.width}")
    for tokens in options.tokens:
        print(f"{tokens} tokens")
        example = torch.randint(WORDS, (1, tokens))
        network = capture(Encoder(options.width, options.layers).eval(), example)
        model = make_template(network, example).write(network)
        with tempfile.TemporaryDirectory() as folder:
            files, expected = [], None
            for name, form in forms.items():
                path = Path(folder) / f"{name.replace(' ', '-')}.onnx"
                onnx.save(form(model), path)
                got = predict(path, runtime, target, (example.numpy(),))
                expected = got if expected is None else expected
                assert np.abs(got - expected).max() < 1e-4, f"{name}: other answers"
                files.append(TimedFile(path, target))
            for name, file, latency in zip(forms, files, bench(files, processes=options.processes), strict=True):
                runs = Counter(node.op_type for node in onnx.load(file.path).graph.node)
                print(
                    f"    {name:26} {latency.ratio:.3f} ({latency.ratio_low:.3f} to {latency.ratio_high:.3f})  "
                    f"{latency.p50_ms:.2f} ms  {sum(runs.values())} operators in the file",
                    flush=True,
                )


if __name__ == "__main__":
    main()
