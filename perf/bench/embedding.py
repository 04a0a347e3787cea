"""Paired timing of `embed_bench` and onnxruntime; see the script `embedding` beside this file.

onnxruntime is handed token ids and hands back the states of all tokens; alfred's time also has
tokenising, pooling and normalising in it, as its callers see it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnxruntime

WORD, BEGIN, END = 2773, 101, 102
QUERY_TOKENS, BULK_TOKENS, BULK_TEXTS = 16, 128, 16
QUERY_RATIO_MAX, BULK_RATIO_MIN = 1.3, 0.9


class Alfred:
    """The example program, answering over pipes."""

    def __init__(self, program: str, model: str) -> None:
        self.process = subprocess.Popen(
            [program, model, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.process.stdout.readline()

    def ask(self, line: str) -> float:
        """Median milliseconds of the runs that `line` asks for."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return statistics.median(map(float, self.process.stdout.readline().split()))

    def query(self, runs: int) -> float:
        return self.ask(f"query {QUERY_TOKENS} {runs}")

    def bulk(self, runs: int) -> float:
        return self.ask(f"bulk {BULK_TOKENS} {BULK_TEXTS} {runs}")


class OnnxRuntime:
    """The same graph in onnxruntime, all its optimisations on."""

    def __init__(self, model: str) -> None:
        self.sessions = {threads: self.session(model, threads) for threads in (1, 2)}

    @staticmethod
    def session(model: str, threads: int) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        path = str(Path(model) / "model.onnx")
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def run(self, threads: int, tokens: int, texts: int, runs: int) -> float:
        ids = np.full((texts, tokens), WORD, dtype=np.int64)
        ids[:, 0], ids[:, -1] = BEGIN, END
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        times = []
        for _ in range(runs):
            start = time.perf_counter()
            self.sessions[threads].run(None, inputs)
            times.append((time.perf_counter() - start) * 1e3)
        return statistics.median(times)

    def query(self, runs: int) -> float:
        return self.run(1, QUERY_TOKENS, 1, runs)

    def bulk(self, runs: int) -> float:
        return self.run(2, BULK_TOKENS, BULK_TEXTS, runs)


def paired(rounds: int, first, second, runs: int) -> dict:
    """Medians of both, and of second / first taken round by round, in alternating order."""
    pairs = []
    for index in range(rounds):
        if index % 2:
            later = second(runs)
            pairs.append((first(runs), later))
        else:
            pairs.append((first(runs), second(runs)))
    ratios = sorted(ours / theirs for theirs, ours in pairs)
    quarter = len(ratios) // 4
    return {
        "onnxruntime_ms": statistics.median(theirs for theirs, _ in pairs),
        "alfred_ms": statistics.median(ours for _, ours in pairs),
        "time_ratio": statistics.median(ratios),
        "time_ratio_quartiles": [ratios[quarter], ratios[-1 - quarter]],
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    alfred, other = Alfred(arguments.program, arguments.model), OnnxRuntime(arguments.model)
    for warm_up in (alfred, other):
        warm_up.query(20)
        warm_up.bulk(2)
    query = paired(arguments.rounds, other.query, alfred.query, 40)
    bulk = paired(arguments.rounds, other.bulk, alfred.bulk, 3)
    for side in ("onnxruntime", "alfred"):
        bulk[f"{side}_chunks_per_s"] = BULK_TEXTS * 1e3 / bulk[f"{side}_ms"]
    bulk["rate_ratio"] = 1 / bulk["time_ratio"]
    met = query["time_ratio"] <= QUERY_RATIO_MAX and bulk["rate_ratio"] >= BULK_RATIO_MIN
    if arguments.json:
        print(json.dumps({"query": query, "bulk": bulk, "pass": met}))
    else:
        print(
            f"query of {QUERY_TOKENS} tokens, 1 thread: alfred {query['alfred_ms']:.2f} ms, "
            f"onnxruntime {query['onnxruntime_ms']:.2f} ms, ratio {query['time_ratio']:.2f} "
            f"(quartiles {query['time_ratio_quartiles'][0]:.2f} to "
            f"{query['time_ratio_quartiles'][1]:.2f}; at most {QUERY_RATIO_MAX})"
        )
        print(
            f"{BULK_TEXTS} texts of {BULK_TOKENS} tokens, 2 threads: alfred "
            f"{bulk['alfred_chunks_per_s']:.1f} texts/s, onnxruntime "
            f"{bulk['onnxruntime_chunks_per_s']:.1f}, ratio {bulk['rate_ratio']:.2f} "
            f"(at least {BULK_RATIO_MIN})"
        )
        print("PASS" if met else "FAIL")
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
