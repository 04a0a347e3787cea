"""Runs docs/performance-test-plan.md: every fenced block, in the page's order and in one environment.

    unshare --net python3 tests/plan/document.py

In a network of its own, the addresses that the page names (8080, 5432, 9090) are free. Environment:
ALFRED, the program; STANDIN, the built example openai_standin; PG_BIN, PostgreSQL's programs; K6.
`prometheus`, `go`, `curl` and `bash` are on PATH. Where the machine is busy, what measures time may take
three tries. Ends with 1 and the block that failed.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import typing

import services
import stand_ins

PAGE = services.TREE / "docs/performance-test-plan.md"
BLOCK_TIMEOUT_S = 120
TRIES = 3


class Failed(Exception):
    """A block did not do what the page says."""


def check(holds, what):
    if not holds:
        raise Failed(what)


@dataclasses.dataclass
class Block:
    """A fenced block of the page."""
    heading: str
    language: str
    text: str


@dataclasses.dataclass
class Rule:
    """What is done with a block: a bash block is run, every other one has a check.

    `shorter`: texts that are replaced before it runs, so that the test is short. `calls`: what stand-ins
    are called with, and nothing else. `timed`: it measures time on a machine that may be busy.
    """
    heading: str
    language: str
    check: typing.Callable = lambda *_: None
    calls: tuple = ()
    shorter: tuple = ()
    timed: bool = False


def blocks(text):
    """The fenced blocks of a page, each with its heading."""
    found, heading, fence = [], "", None
    for line in text.splitlines():
        if fence is not None:
            if line == "```":
                found.append(Block(heading, fence[0], "\n".join(fence[1]) + "\n"))
                fence = None
            else:
                fence[1].append(line)
        elif line.startswith("```"):
            fence = (line[3:], [])
        elif line.startswith("## "):
            heading = line[3:]
        else:
            check(not line.startswith("    "), f"a command that is in no fence: {line}")
    check(fence is None, "a fence that does not end")
    return found


# ---- checks: (the block, what it printed, the stage)

def prints(*patterns):
    """Each of these regular expressions is found in what the block printed."""
    def look(_block, printed, _stage):
        for pattern in patterns:
            check(re.search(pattern, printed, re.M), f"{pattern!r} is not in:\n{printed}")
    return look


def seeded(_block, printed, stage):
    """Every file of the patterns was stored, at any depth, in PostgreSQL."""
    wanted = len(list(stage.folder.glob("docs/**/*.md")) + list(stage.folder.glob("whitepapers/**/*.pdf")))
    check(wanted > 20 and f"{wanted} created, 0 replaced" in printed, f"not {wanted} created:\n{printed}")
    check(int(stage.postgres.psql("SELECT count(*) FROM alfred_sources")) == wanted, "another count in PostgreSQL")


def seeded_more(_block, printed, stage):
    check(f"{len(services.DATASETS)} created, 0 replaced" in printed, printed)
    sources = stage.postgres.psql("SELECT source FROM alfred_sources WHERE source LIKE 'datasets/%' ORDER BY 1")
    check(sources.splitlines() == sorted(services.DATASETS), sources)


def same_as_query_set(block, _printed, stage):
    shipped = (stage.folder / "perf/queryset.txt").read_text()
    check(shipped.startswith(block.text), "the query set does not begin as the page says")


def part_of_script(block, _printed, stage):
    check(block.text in (stage.folder / "perf/k6-script.js").read_text(), "this is not in perf/k6-script.js")


def answered_by_prometheus(block, _printed, stage):
    """Each expression has a value, from what Prometheus scraped while the blocks before were run."""
    asked = [line for line in block.text.splitlines() if line and not line.startswith("#")]
    for expression in asked:
        values = stage.prometheus.values(expression)
        check(values and all(value == value for value in values), f"{expression}: {values}")


def same_as_mock(block, _printed, stage):
    check(block.text == stage.printed["python perf/mock_performance_results.py\n"],
          "the mock prints something else than the page shows")
    record = json.loads((stage.folder / "mock_performance_results.json").read_text())
    check(record["mock"] is True and "verdict" not in record, f"{record}")


def gate(requests):
    return prints(rf"^Total requests: {requests}$", rf"^Successful: {requests}$", r"^✅ PASS$",
                  r"^p95_latency_ms: [0-9.]+$", r"^error_rate: 0$")


K6_PASSES = prints(r"✓ 'p\(95\)<300'", r"✓ 'rate<0.01'")

# The blocks of the page, in its order. One that is not here, or not there, fails the test.
RULES = (
    Rule("Option A: the stack in containers", "bash",
         calls=(("alfred up", "-d", "pg", "redis", "minio", "server", "grafana", "prometheus", "loki"),)),
    Rule("Option B: a cluster with Kind and Helm", "bash",
         calls=(("kind", "create", "cluster", "--name", "agent-core"), ("helm", "repo", "add", "alfred", "URL"),
                ("helm", "install", "core", "alfred/agent-core"))),
    Rule("Option C: a machine with systemd", "bash",
         calls=(("scripts/package",),
                ("sudo", "apt", "install", "./target/packages/alfred_1%3a0.9.0-1_amd64.deb",
                 "./target/packages/alfred-model-minilm_1%3a0.9.0-1_all.deb"),
                ("sudo", "systemctl", "enable", "--now", "alfred-soak@nightly.timer"))),
    Rule("Option C: a machine with systemd", "bash",
         calls=(("alfred up", "--engine", "systemd", "--provision"),)),
    Rule("Seeding the vector store for the test", "bash", seeded),
    Rule("Seeding the vector store for the test", "bash", seeded_more),
    Rule("Seeding the vector store for the test", "bash", prints("ready")),
    Rule("The query set of the test", "text", same_as_query_set),
    Rule("Quick gate: the Python harness", "bash", gate(50), shorter=(("DURATION=60", "DURATION=5"),), timed=True),
    Rule("Load with k6: users in a closed loop", "bash", K6_PASSES,
         shorter=(("k6 run", "k6 run --duration 3s"),), timed=True),
    Rule("Load with k6: users in a closed loop", "javascript", part_of_script),
    # For DURATION, which the block of the harness exports.
    Rule("Load with k6: a fixed rate", "bash", K6_PASSES, timed=True),
    Rule("What to watch in Prometheus and Grafana", "promql", answered_by_prometheus),
    Rule("If p95 is above 300 ms in the test", "bash", prints(r'^retrieval_errors_total\{kind="openai_error"\} 0$')),
    Rule("If p95 is above 300 ms in the test", "bash", prints(r"^Type: cpu$", r"^ +flat +flat%"),
         shorter=(("seconds=30", "seconds=2"),)),
    Rule("If p95 is above 300 ms in the test", "bash", prints(r"^ANALYZE$")),
    Rule("If p95 is above 300 ms in the test", "bash", gate(25), timed=True),
    Rule("Common issues in a performance test", "bash",
         prints(r'^openai_requests_total\{status="200"\} [1-9]', r'^db_pool_connections\{state="max"\} 10$')),
    Rule("Releasing when the gate is green", "bash", calls=(("scripts/release", "0.9.0", "--dry-run"),)),
    Rule("Releasing when the gate is green", "bash",
         calls=(("scripts/release", "0.9.0", "--push", "--github", "--notify"),)),
    Rule("Mock results, where nothing can be run", "bash", prints(r"^MOCK ✅ PASS$")),
    Rule("Mock results, where nothing can be run", "text", same_as_mock),
)


class Stage:
    """Where the blocks run: a folder that looks like the source tree, with the services around it."""

    def __init__(self, folder, postgres, prometheus):
        self.folder, self.postgres, self.prometheus = folder, postgres, prometheus
        self.variables = services.variables(folder)
        # What each block printed in the end.
        self.printed = {}
        self.runs = 0

    def run(self, script):
        """(exit code, what was printed). What the script exports is there for the next one; what it leaves
        in the background is ended with the stage."""
        self.runs += 1
        # A log of its own each time: what runs in the background goes on writing to its block's.
        names = ("exported", "pids", f"log-{self.runs}")
        kept, pids, log = (self.folder / ".stage" / name for name in names)
        whole = (f"set -euo pipefail\n[ ! -e '{kept}' ] || . '{kept}'\n"
                 f"trap \"jobs -p >>'{pids}'; export -p >'{kept}'\" EXIT\n{script}")
        with log.open("w+") as output:
            # Not a pipe: what is left in the background would hold it open.
            ended = subprocess.run(["timeout", str(BLOCK_TIMEOUT_S), "bash", "-c", whole], cwd=self.folder,
                                   env=self.variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
            output.seek(0)
            return ended.returncode, output.read()

    def end(self):
        with contextlib.suppress(OSError):
            for pid in (self.folder / ".stage/pids").read_text().split():
                services.end(int(pid))


def follow(stage, rule, block):
    """Runs or checks a block once."""
    script = block.text
    for long, short in rule.shorter:
        check(script.count(long) == 1, f"{long!r} is to be shortened and is not there once")
        script = script.replace(long, short)
    printed = ""
    if block.language == "bash":
        before = len(stand_ins.calls(stage.folder))
        code, printed = stage.run(script)
        check(code == 0, f"ended with {code}:\n{printed}")
        came = stand_ins.calls(stage.folder)[before:]
        wanted = [list(call) for call in rule.calls if call[0] in stand_ins.PROGRAMS]
        check(came == wanted, f"stand-ins were called with {came}, not {wanted}")
    rule.check(block, printed, stage)
    stage.printed[block.text] = printed


def follow_all(stage, found):
    for rule, block in zip(RULES, found):
        began = time.monotonic()
        tries = TRIES if rule.timed else 1
        for left in range(tries - 1, -1, -1):
            try:
                follow(stage, rule, block)
                break
            except Failed as problem:
                told = f"{PAGE.name}: {block.heading}:\n{block.text}\n{problem}"
                if left == 0:
                    raise Failed(told) from None
                print(f"once more: {told}", flush=True)
        first = block.text.splitlines()[0]
        print(f"{time.monotonic() - began:5.1f} s  {block.heading}: {first}", flush=True)


def main():
    found = blocks(PAGE.read_text())
    given = [(block.heading, block.language) for block in found]
    known = [(rule.heading, rule.language) for rule in RULES]
    check(given == known, f"blocks of the page and rules of this test differ:\n{given}\n{known}")
    services.loopback_up()
    with tempfile.TemporaryDirectory(prefix="alfred-plan-") as folder, services.all_of(pathlib.Path(folder)) as around:
        stand_ins.put(pathlib.Path(folder), os.environ["ALFRED"])
        stage = Stage(pathlib.Path(folder), *around)
        try:
            follow_all(stage, found)
        finally:
            stage.end()


if __name__ == "__main__":
    try:
        main()
    except Failed as failure:
        print(f"FAILED {failure}", file=sys.stderr)
        sys.exit(1)
