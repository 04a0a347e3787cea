#!/usr/bin/env python3
"""Quality of retrieval on a test collection with judged answers, through the HTTP API.

    perf/bench/quality.py FOLDER

FOLDER (or CRANFIELD_DIR) has docs.jsonl (id, title, text), queries.jsonl (id, text) and qrels.tsv
(query, doc; a header line), as Cranfield 1400 in that form. Every document goes through
POST /v1/documents, every query through POST /v1/query in each mode. A document counts at its first
chunk. Prints nDCG@10 (binary relevance, the ideal being the judged relevant documents) and
recall@10, and exits 1 when one is below its target. `quality_baselines.py` checks the arithmetic
against rankings made without alfred. Environment: see common.py.
"""

import collections
import contextlib
import http.client
import json
import math
import os
import pathlib
import statistics
import sys
import time

import common

DEPTH = 10
BATCH = 50
# nDCG@10 on Cranfield.
TARGETS = {"hybrid": 0.41, "vector": 0.395, "text": 0.34}


def read_collection(folder):
    """(documents, queries, query id -> ids of relevant documents)"""
    folder = pathlib.Path(folder)
    documents, queries = ([json.loads(line) for line in (folder / name).open()]
                          for name in ("docs.jsonl", "queries.jsonl"))
    relevant = collections.defaultdict(set)
    for line in (folder / "qrels.tsv").read_text().splitlines()[1:]:
        query, document = line.split()[:2]
        relevant[int(query)].add(int(document))
    return documents, queries, relevant


def ndcg(ranking, relevant):
    """nDCG@10 of a ranking of distinct ids."""
    gain = sum(1 / math.log2(rank + 2) for rank, one in enumerate(ranking[:DEPTH]) if one in relevant)
    return gain / sum(1 / math.log2(rank + 2) for rank in range(min(DEPTH, len(relevant))))


def recall(ranking, relevant):
    """Share of the relevant that is among the first ten."""
    return len(relevant.intersection(ranking[:DEPTH])) / len(relevant)


def put(daemon, documents):
    """Every document through POST /v1/documents; returns how many chunks they became."""
    chunks = 0
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=300)
    with contextlib.closing(connection):
        for start in range(0, len(documents), BATCH):
            body = [{"source": f"cranfield/{one['id']}.txt", "title": one["title"],
                     "content": one["text"]} for one in documents[start:start + BATCH]
                    if one["text"].strip()]
            status, reply = common.exchange(connection, "POST", "/v1/documents", body)
            if status != 200:
                common.fail(f"POST /v1/documents: {status} {reply}", "see the daemon's log")
            for one in reply["documents"]:
                if one["status"] not in ("created", "replaced", "unchanged"):
                    common.fail(f"a document was refused: {one}", "see its reason")
                chunks += one["chunks"]
    return chunks


def ask(connection, text, mode):
    """Ids of the first ten distinct documents."""
    for top_k in (30, 100):
        body = {"query": text, "top_k": top_k, "mode": mode, "answer": "none"}
        status, reply = common.exchange(connection, "POST", "/v1/query", body)
        if status != 200:
            common.fail(f"POST /v1/query: {status} {reply}", "see the daemon's log")
        sources = dict.fromkeys(one["source"] for one in reply["citations"])
        if len(sources) >= DEPTH or len(reply["citations"]) < top_k:
            break
    return [int(pathlib.PurePosixPath(source).stem) for source in list(sources)[:DEPTH]]


def measure(daemon, queries, relevant):
    """Mode -> mean figures and time for one query."""
    figures = {}
    connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=60)
    with contextlib.closing(connection):
        for mode in TARGETS:
            start = time.monotonic()
            rankings = [ask(connection, query["text"], mode) for query in queries]
            per_query_ms = (time.monotonic() - start) * 1e3 / len(queries)
            judged = [(ranking, relevant[query["id"]]) for ranking, query in zip(rankings, queries)]
            scores = [ndcg(*one) for one in judged]
            figures[mode] = {
                "ndcg_at_10": round(statistics.fmean(scores), 4),
                "recall_at_10": round(statistics.fmean(recall(*one) for one in judged), 4),
                "standard_error": round(statistics.stdev(scores) / len(scores) ** 0.5, 4),
                "query_ms": round(per_query_ms, 1)}
    return figures


def main():
    arguments = sys.argv[1:] or [os.environ.get("CRANFIELD_DIR", "")]
    if arguments[0] in ("-h", "--help", ""):
        print(__doc__.strip())
        sys.exit(0 if arguments[0] else 2)
    documents, queries, relevant = read_collection(arguments[0])
    with common.work_folder() as folder:
        with common.Daemon(folder / "quality-store", folder / "quality.log") as daemon:
            start = time.monotonic()
            chunks = put(daemon, documents)
            ingest_s = time.monotonic() - start
            modes = measure(daemon, queries, relevant)
    print(f"{len(documents)} documents, {chunks} chunks, {len(queries)} queries; "
          f"stored in {ingest_s:.0f} s")
    common.table(("mode", "nDCG@10", "standard error", "recall@10", "target"), [
        (mode, f"{one['ndcg_at_10']:.3f}", f"{one['standard_error']:.3f}",
         f"{one['recall_at_10']:.3f}", f">= {TARGETS[mode]}") for mode, one in modes.items()])
    figures = {"documents": len(documents), "chunks": chunks, "queries": len(queries),
               "ingest_s": round(ingest_s, 1), "modes": modes}
    common.finish("quality", figures, [(f"nDCG@10 {mode}", modes[mode]["ndcg_at_10"], ">=", least)
                                       for mode, least in TARGETS.items()])


if __name__ == "__main__":
    main()
