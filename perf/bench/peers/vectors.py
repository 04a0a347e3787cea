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

import json
import pathlib
import sys

import numpy
import quality_baselines

CLUSTERS = 2_000
NOISE = 0.7
# Of many fields, so that the clusters lie apart as the topics of a broad corpus do.
WORDS = """
    volcano sonata mortgage vaccine glacier compiler wheat submarine cathedral enzyme tariff violin
    earthquake bicycle orchid satellite verdict cheese railway galaxy tractor insulin sculpture tsunami
    chess lighthouse parliament bacteria espresso turbine novel desert referee bridge pension whale
    telescope carpet inflation antibody harbour marathon fossil database opera vineyard airport hormone
    treaty hurricane potter battery elephant theorem kitchen asteroid lawyer river hospital poem
    steel pilgrim laser coral election piano drought kidney firewall camel archive ballet uranium
    orchard strike monsoon lens refugee sailor honey router cancer castle dialect ferry inventory
    jury knot library meteor nurse oxygen penguin quarry ransom saddle tennis umbrella vitamin
    waterfall yeast zinc apprentice bishop canal dolphin emperor fjord guitar helmet icon jazz
    kernel lobster magnet nectar oil passport quilt radar salmon tomb urn virus wedding
    auction blizzard cotton diploma eclipse forest granite heron island jacket kite lemon mosque
    navy olive prison queue rocket silk tunnel uniform valley wolf axle bread copper drum
""".split()

def main():
    folder, model = pathlib.Path(sys.argv[1]), sys.argv[2]
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 100_000
    folder.mkdir(parents=True, exist_ok=True)
    stamp = folder / f"complete-{count}"
    if stamp.exists():
        return
    embed = quality_baselines.embedder(model)
    random = numpy.random.default_rng(7)
    topics = [random.choice(WORDS, 3, replace=False) for _ in range(CLUSTERS)]
    questions = [f"What has the {a} to do with the {b} and the {c}?" for a, b, c in topics]
    centres = embed([f"The {a}, the {b} and the {c}." for a, b, c in topics])
    asked = embed(questions)
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
