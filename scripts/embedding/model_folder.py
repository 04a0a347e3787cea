#!/usr/bin/env python3
"""Makes the model folder all-MiniLM-L6-v2 from the published weights.

    model_folder.py WEIGHTS_DIR OUT_DIR

WEIGHTS_DIR holds the publisher's model.safetensors and tokenizer.json. OUT_DIR receives model.onnx,
tokenizer.json, LICENSE and model.json. The same input gives the same bytes: each digest is pinned
below and checked, before on what is read and after on what was written.

The graph is a plain BERT encoder in standard operators (opset 17), shaped so that a runtime can
fuse it: MatMul then Add with a vector (one product with bias), Add then Softmax (masked attention),
x * (1 + erf(x / sqrt 2)) * 0.5 (GELU), LayerNormalization as one operator. Weights are stored
transposed, as MatMul reads them, and the one segment embedding that is ever used is added to the
position embeddings. Pooling and normalisation are left to the caller, so that this graph and the
one on the publisher's hub are used alike.
"""

import hashlib
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import onnx
from blake3 import blake3
from onnx import TensorProto, helper, numpy_helper

import safetensors_file

NAME = "all-MiniLM-L6-v2"
HIDDEN, HEADS, LAYERS = 384, 12, 6
HEAD_DIM = HIDDEN // HEADS
MAX_TOKENS = 256
EPSILON = 1e-12
MASKED = -1e9

INPUT_SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
ONNX_SHA256 = "74a052c4d2ab72786b5f8b1fd896c516d9baab1b92d704017b56e99fac70ed5a"


class Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self, tensors: dict[str, np.ndarray]) -> None:
        self.tensors = tensors
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: np.ndarray) -> str:
        """Adds a constant, returns its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def integers(self, name: str, values: list[int]) -> str:
        return self.constant(name, np.array(values, dtype=np.int64))

    def scalar(self, name: str, value: float) -> str:
        return self.constant(name, np.float32(value))

    def add(self, kind: str, inputs: list[str], output: str, **attributes) -> str:
        """Adds an operator with one output, returns the output's name."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def linear(self, source: str, layer: str) -> str:
        weight = self.constant(f"{layer}.weight", self.tensors[f"{layer}.weight"].T)
        bias = self.constant(f"{layer}.bias", self.tensors[f"{layer}.bias"])
        product = self.add("MatMul", [source, weight], f"{layer}.product")
        return self.add("Add", [product, bias], f"{layer}.out")

    def layer_norm(self, source: str, layer: str, output: str | None = None) -> str:
        scale = self.constant(f"{layer}.LayerNorm.weight", self.tensors[f"{layer}.LayerNorm.weight"])
        shift = self.constant(f"{layer}.LayerNorm.bias", self.tensors[f"{layer}.LayerNorm.bias"])
        return self.add(
            "LayerNormalization",
            [source, scale, shift],
            output or f"{layer}.LayerNorm.out",
            axis=-1,
            epsilon=EPSILON,
        )


def embeddings(graph: Graph) -> str:
    """Token and position embeddings, [batch, sequence, 384]."""
    key = "embeddings"
    words = graph.constant(f"{key}.words", graph.tensors[f"{key}.word_embeddings.weight"])
    segment = graph.tensors[f"{key}.token_type_embeddings.weight"][0]
    positions = graph.tensors[f"{key}.position_embeddings.weight"] + segment
    positions = graph.constant(f"{key}.positions", positions)
    graph.integers("zero", [0])
    graph.integers("one", [1])
    graph.integers("two", [2])
    shape = graph.add("Shape", ["input_ids"], f"{key}.shape")
    length = graph.add("Slice", [shape, "one", "two"], f"{key}.length")
    positions = graph.add("Slice", [positions, "zero", length, "zero"], f"{key}.position")
    tokens = graph.add("Gather", [words, "input_ids"], f"{key}.token", axis=0)
    return graph.layer_norm(graph.add("Add", [tokens, positions], f"{key}.sum"), key)


def attention_mask(graph: Graph) -> str:
    """What is added to the attention scores: 0 on text, -1e9 on padding; [batch, 1, 1, sequence]."""
    graph.integers("mask.axes", [1, 2])
    mask = graph.add("Cast", ["attention_mask"], "mask.float", to=TensorProto.FLOAT)
    mask = graph.add("Unsqueeze", [mask, "mask.axes"], "mask.unsqueezed")
    padding = graph.add("Sub", [graph.scalar("mask.one", 1.0), mask], "mask.padding")
    return graph.add("Mul", [padding, graph.scalar("mask.far", MASKED)], "mask.added")


def attention(graph: Graph, source: str, mask: str, layer: str) -> str:
    """Self-attention of all heads, [batch, sequence, 384]."""

    def heads(name: str, permutation: list[int]) -> str:
        projected = graph.linear(source, f"{layer}.self.{name}")
        split = graph.add("Reshape", [projected, "heads.shape"], f"{layer}.{name}.heads")
        return graph.add("Transpose", [split], f"{layer}.{name}", perm=permutation)

    query = heads("query", [0, 2, 1, 3])
    key = heads("key", [0, 2, 3, 1])
    value = heads("value", [0, 2, 1, 3])
    scores = graph.add("MatMul", [query, key], f"{layer}.products")
    scores = graph.add("Mul", [scores, "heads.scale"], f"{layer}.scores")
    scores = graph.add("Add", [scores, mask], f"{layer}.masked")
    weights = graph.add("Softmax", [scores], f"{layer}.weights", axis=-1)
    context = graph.add("MatMul", [weights, value], f"{layer}.context.heads")
    context = graph.add("Transpose", [context], f"{layer}.context.rows", perm=[0, 2, 1, 3])
    return graph.add("Reshape", [context, "rows.shape"], f"{layer}.context")


def gelu(graph: Graph, source: str, layer: str) -> str:
    scaled = graph.add("Div", [source, "gelu.sqrt_two"], f"{layer}.scaled")
    erf = graph.add("Erf", [scaled], f"{layer}.erf")
    shifted = graph.add("Add", [erf, "gelu.one"], f"{layer}.shifted")
    product = graph.add("Mul", [source, shifted], f"{layer}.doubled")
    return graph.add("Mul", [product, "gelu.half"], f"{layer}.gelu")


def encoder(tensors: dict[str, np.ndarray]) -> onnx.ModelProto:
    """The whole graph: input_ids and attention_mask in, last_hidden_state out."""
    graph = Graph(tensors)
    state = embeddings(graph)
    mask = attention_mask(graph)
    graph.integers("heads.shape", [0, 0, HEADS, HEAD_DIM])
    graph.integers("rows.shape", [0, 0, HIDDEN])
    graph.scalar("heads.scale", HEAD_DIM**-0.5)
    graph.scalar("gelu.sqrt_two", 2.0**0.5)
    graph.scalar("gelu.one", 1.0)
    graph.scalar("gelu.half", 0.5)
    for index in range(LAYERS):
        layer = f"encoder.layer.{index}"
        context = attention(graph, state, mask, f"{layer}.attention")
        out = graph.linear(context, f"{layer}.attention.output.dense")
        out = graph.add("Add", [out, state], f"{layer}.attention.sum")
        state = graph.layer_norm(out, f"{layer}.attention.output")
        wide = graph.linear(state, f"{layer}.intermediate.dense")
        wide = gelu(graph, wide, f"{layer}.intermediate")
        out = graph.linear(wide, f"{layer}.output.dense")
        out = graph.add("Add", [out, state], f"{layer}.sum")
        last = "last_hidden_state" if index == LAYERS - 1 else None
        state = graph.layer_norm(out, f"{layer}.output", last)
    dimensions = ["batch", "sequence"]
    value = helper.make_tensor_value_info
    proto = helper.make_graph(
        graph.nodes,
        NAME,
        [value(name, TensorProto.INT64, dimensions) for name in ("input_ids", "attention_mask")],
        [value("last_hidden_state", TensorProto.FLOAT, [*dimensions, HIDDEN])],
        graph.constants,
    )
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(proto, opset_imports=[opset], ir_version=8, producer_name="alfred")
    onnx.checker.check_model(model)
    return model


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check(path: Path, expected: str) -> None:
    found = sha256(path)
    if found != expected:
        sys.exit(f"error: {path} has SHA-256 {found}, expected {expected}")


def description(folder: Path) -> str:
    """model.json: what the model is, and the size and digests of each file beside it."""
    files = {}
    for name in ("model.onnx", "tokenizer.json", "LICENSE"):
        data = (folder / name).read_bytes()
        files[name] = {
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
            "blake3": blake3(data).hexdigest(),
        }
    about = {
        "name": NAME,
        "dimensions": HIDDEN,
        "max_tokens": MAX_TOKENS,
        "pooling": "mean",
        "license": "Apache-2.0",
        "source": "sentence-transformers/all-MiniLM-L6-v2, model.safetensors "
        + INPUT_SHA256["model.safetensors"],
        "files": files,
    }
    return json.dumps(about, indent=2) + "\n"


def main() -> None:
    weights, out = (Path(argument) for argument in sys.argv[1:3])
    for name, digest in INPUT_SHA256.items():
        check(weights / name, digest)
    out.mkdir(parents=True, exist_ok=True)
    model = encoder(safetensors_file.load(weights / "model.safetensors"))
    (out / "model.onnx").write_bytes(model.SerializeToString(deterministic=True))
    check(out / "model.onnx", ONNX_SHA256)
    shutil.copyfile(weights / "tokenizer.json", out / "tokenizer.json")
    shutil.copyfile(Path(__file__).with_name("LICENSE"), out / "LICENSE")
    # Written last: a folder without it is not yet a model.
    (out / "model.json").write_text(description(out))


if __name__ == "__main__":
    main()
