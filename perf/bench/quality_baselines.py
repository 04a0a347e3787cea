#!/usr/bin/env python3
"""Checks quality.py's arithmetic: rankings of whole documents made without alfred.

    perf/bench/quality_baselines.py FOLDER MODEL_DIR

FOLDER as for quality.py; MODEL_DIR holds model.onnx and tokenizer.json of all-MiniLM-L6-v2. Makes a
venv with numpy, onnxruntime, tokenizers and snowballstemmer under the cache folder when run outside
of one. Prints nDCG@10 and recall@10 of BM25 (k1 1.2, b 0.75, with and without Porter stems), of
MiniLM and of their reciprocal-rank fusion (k 60), and exits 1 when one of them on Cranfield is
further than 0.015 from what other implementations got on the same 112 queries.
"""

import collections
import json
import math
import os
import pathlib
import re
import subprocess
import sys

import common
import quality

# nDCG@10 of other implementations on the same documents, queries and judgements.
KNOWN = {"BM25": 0.338, "BM25, Porter stems": 0.353, "MiniLM": 0.404, "fusion": 0.397,
         "fusion, Porter stems": 0.416}
TOLERANCE = 0.015
BATCH = 16
MAX_TOKENS = 256
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "alfred/bench"


def in_venv():
    """Runs this script again in its venv, made when absent."""
    venv = CACHE / "quality"
    if pathlib.Path(sys.prefix) == venv:
        return
    python = venv / "bin/python"
    if not (venv / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "numpy", "onnxruntime", "tokenizers",
                        "snowballstemmer"], check=True)
        (venv / "complete").touch()
    os.execv(python, [str(python), *sys.argv])


def bm25(texts, queries, stem):
    """Rankings of document positions, best first."""
    def terms(text):
        return [stem(word) for word in re.findall(r"[a-z0-9]+", text.lower())]
    counts = [collections.Counter(terms(text)) for text in texts]
    lengths = [sum(one.values()) for one in counts]
    mean = sum(lengths) / len(lengths)
    postings = collections.defaultdict(list)
    for at, one in enumerate(counts):
        for term, count in one.items():
            postings[term].append((at, count))
    rankings = []
    for query in queries:
        scores = collections.Counter()
        for term in set(terms(query)):
            found = postings[term]
            weight = math.log(1 + (len(texts) - len(found) + 0.5) / (len(found) + 0.5))
            for at, count in found:
                norm = 1.2 * (0.25 + 0.75 * lengths[at] / mean)
                scores[at] += weight * count * 2.2 / (count + norm)
        rankings.append([at for at, _ in scores.most_common()])
    return rankings


def embedder(model_dir):
    """A function from texts to an array of unit vectors."""
    import numpy
    import onnxruntime
    import tokenizers
    tokenizer = tokenizers.Tokenizer.from_file(f"{model_dir}/tokenizer.json")
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()
    session = onnxruntime.InferenceSession(f"{model_dir}/model.onnx")
    inputs = [one.name for one in session.get_inputs()]

    def embed(texts):
        encoded = [tokenizer.encode(text).ids for text in texts]
        order = sorted(range(len(texts)), key=lambda at: len(encoded[at]))
        vectors = numpy.zeros((len(texts), 384), "f4")
        for start in range(0, len(order), BATCH):
            rows = order[start:start + BATCH]
            ids = numpy.zeros((len(rows), max(len(encoded[row]) for row in rows)), "i8")
            mask = numpy.zeros_like(ids)
            for at, row in enumerate(rows):
                ids[at, :len(encoded[row])] = encoded[row]
                mask[at, :len(encoded[row])] = 1
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
            states = session.run(None, {name: feed[name] for name in inputs})[0]
            vectors[rows] = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return vectors / numpy.linalg.norm(vectors, axis=1, keepdims=True)
    return embed


def fuse(*rankings):
    """Reciprocal ranks, k 60, of each query's rankings cut at 100."""
    fused = []
    for lists in zip(*rankings):
        scores = collections.Counter()
        for ranking in lists:
            for rank, at in enumerate(ranking[:100]):
                scores[at] += 1 / (61 + rank)
        fused.append([at for at, _ in scores.most_common()])
    return fused


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    in_venv()
    import snowballstemmer
    documents, queries, relevant = quality.read_collection(sys.argv[1])
    texts = [one["text"] for one in documents]
    asked = [one["text"] for one in queries]
    embed = embedder(sys.argv[2])
    similarity = embed(asked) @ embed(texts).T
    found = {"BM25": bm25(texts, asked, lambda word: word),
             "BM25, Porter stems": bm25(texts, asked, snowballstemmer.stemmer("porter").stemWord),
             "MiniLM": (-similarity).argsort(1, kind="stable").tolist()}
    found["fusion"] = fuse(found["BM25"], found["MiniLM"])
    found["fusion, Porter stems"] = fuse(found["BM25, Porter stems"], found["MiniLM"])
    rows, figures, wrong = [], {}, []
    for name, rankings in found.items():
        judged = [([documents[at]["id"] for at in ranking[:10]], relevant[query["id"]])
                  for ranking, query in zip(rankings, queries)]
        score = sum(quality.ndcg(*one) for one in judged) / len(judged)
        recall = sum(quality.recall(*one) for one in judged) / len(judged)
        figures[name] = {"ndcg_at_10": round(score, 4), "recall_at_10": round(recall, 4)}
        rows.append((name, f"{score:.3f}", f"{KNOWN[name]:.3f}", f"{recall:.3f}"))
        if abs(score - KNOWN[name]) > TOLERANCE:
            wrong.append(name)
    common.table(("ranking", "nDCG@10", "known", "recall@10"), rows)
    print(json.dumps({"bench": "quality_baselines", "figures": figures, "off": wrong}))
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
