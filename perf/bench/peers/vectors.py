"""Vectors for comparing stores over HTTP: 100,000 × 384 in 2,000 clusters around real questions.

    vectors.py FOLDER MODEL_DIR [COUNT]

Writes to FOLDER, little endian f32 and all of unit length:
  questions.txt   2,000 distinct questions, one a line
  questions.f32   their vectors by the model, so that a server which embeds the text and one which
                  is handed the vector search for the very same thing
  vectors.f32     COUNT vectors: a question's topic (another text, embedded) plus 0.7 times as much
                  noise
  nearest.json    for each question, the rows of the ten truly nearest
Seeded: the same every time.
"""

import itertools
import json
import pathlib
import sys

import numpy
import quality_baselines

CLUSTERS = 2_000
NOISE = 0.7
VERBS = ("upgrade", "configure", "monitor", "restart", "secure", "back up", "scale", "test",
         "debug", "migrate")
NOUNS = ("database", "index", "load balancer", "cache", "message queue", "certificate", "dashboard",
         "container", "search service", "scheduler")
PLACES = ("in a small company", "on a laptop", "for a bank", "at a hospital", "in the cloud",
          "without downtime", "over a slow network", "after a power failure", "for the first time",
          "on old hardware", "with two servers", "in a school", "under heavy load", "at night",
          "for a web shop", "in a laboratory", "on a ship", "before a release", "in a container",
          "with little memory")


def main():
    folder, model = pathlib.Path(sys.argv[1]), sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 100_000
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / f"complete-{count}"
    if stamp.exists():
        return
    embed = quality_baselines.embedder(model)
    topics = list(itertools.product(VERBS, NOUNS, PLACES))
    assert len(topics) == CLUSTERS
    questions = [f"How do I {verb} the {noun} {place}?" for verb, noun, place in topics]
    centres = embed([f"To {verb} the {noun} {place}, follow these steps." for verb, noun, place in topics])
    asked = embed(questions)
    random = numpy.random.default_rng(7)
    noise = random.standard_normal((count, 384)).astype("f4") * (NOISE / 384**0.5)
    vectors = centres[random.integers(0, CLUSTERS, count)] + noise
    vectors /= numpy.linalg.norm(vectors, axis=1, keepdims=True)
    nearest = []
    for start in range(0, CLUSTERS, 200):
        near = (asked[start:start + 200] @ vectors.T)
        top = numpy.argpartition(-near, 10, axis=1)[:, :10]
        order = numpy.argsort(-numpy.take_along_axis(near, top, 1), axis=1)
        nearest += numpy.take_along_axis(top, order, 1).tolist()
    (folder / "questions.txt").write_text("\n".join(questions) + "\n")
    asked.astype("<f4").tofile(folder / "questions.f32")
    vectors.astype("<f4").tofile(folder / "vectors.f32")
    (folder / "nearest.json").write_text(json.dumps(nearest))
    stamp.touch()


if __name__ == "__main__":
    main()
