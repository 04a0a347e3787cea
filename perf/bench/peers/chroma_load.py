"""Puts the vectors of vectors.py into a running Chroma, and writes what wrk posts to it.

    chroma_load.py FOLDER PORT

Prints one JSON line: vectors added a second (batches of 5,000, as its documentation advises), and
the path that answers queries. The bodies go to FOLDER/chroma-bodies.jsonl.
"""

import json
import pathlib
import sys
import time

import chromadb
import numpy

BATCH = 5_000
DIMENSIONS = 384


def main():
    folder, port = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    vectors = numpy.fromfile(folder / "vectors.f32", "<f4").reshape(-1, DIMENSIONS)
    questions = numpy.fromfile(folder / "questions.f32", "<f4").reshape(-1, DIMENSIONS)
    collection = chromadb.HttpClient(port=port).create_collection(
        "bench", embedding_function=None, configuration={"hnsw": {"space": "cosine"}})
    spent = 0.0
    for start in range(0, len(vectors), BATCH):
        rows = range(start, min(start + BATCH, len(vectors)))
        batch = {"ids": [str(row) for row in rows], "embeddings": vectors[rows.start:rows.stop],
                 "documents": [f"passage number {row} of the corpus. " * 12 for row in rows],
                 "metadatas": [{"source": f"{row}.md"} for row in rows]}
        begin = time.monotonic()
        collection.add(**batch)
        spent += time.monotonic() - begin
    with (folder / "chroma-bodies.jsonl").open("w") as bodies:
        for question in questions:
            vector = [round(float(value), 7) for value in question]
            bodies.write(json.dumps({"query_embeddings": [vector], "n_results": 3,
                                     "include": ["documents", "metadatas", "distances"]}) + "\n")
    path = ("/api/v2/tenants/default_tenant/databases/default_database/collections/"
            f"{collection.id}/query")
    print(json.dumps({"add_per_s": len(vectors) / spent, "path": path}))


if __name__ == "__main__":
    main()
