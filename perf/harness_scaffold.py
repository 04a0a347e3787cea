"""The quick gate: runs `alfred soak` with the gate's variables and prints its result as one block.

    TARGET_URL=http://localhost:8080/v1/query QPS=10 DURATION=60 QUERY_FILE=perf/queryset.txt \\
      python perf/harness_scaffold.py [FLAG OF alfred soak]...

It measures nothing itself: figures, verdict and exit code are those of `alfred soak` (0 PASS, 99 FAIL,
98 INVALID; 1, 2 and 78 when there was no run). Environment:

    TARGET_URL      what is asked                        http://localhost:8080/v1/query
    QPS             requests that fall due a second      10
    DURATION        seconds, or with a unit as 5m        60
    QUERY_FILE      one query a line                     queryset.txt beside this file
    RELEVANCE_FILE  which documents answer which query   relevance.tsv beside the default query set, where
                                                         this alfred has `soak --relevance`
    ALFRED          the program                          alfred on PATH, else the one built in this tree

Python 3.9 or later, standard library only.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
DEFAULTS = {"TARGET_URL": "http://localhost:8080/v1/query", "QPS": "10", "DURATION": "60",
            "QUERY_FILE": str(HERE / "queryset.txt")}
RELEVANCE = HERE / "relevance.tsv"
FAILED, USAGE = 1, 2


def fail(code, what, hint):
    """Says what failed and what to do, and ends with that code."""
    print(f"error: {what}\nhint: {hint}", file=sys.stderr)
    sys.exit(code)


def alfred():
    """The program, as a path or a name on PATH."""
    built = HERE.parent / "target/release/alfred"
    named = os.environ.get("ALFRED") or shutil.which("alfred") or (str(built) if built.exists() else None)
    if named is None or shutil.which(named) is None:
        fail(FAILED, f"there is no program {named or 'alfred'}",
             "install alfred, or set ALFRED to its path")
    return named


def environment():
    """This environment with the gate's defaults; a variable that is set to nothing is not set."""
    given = {name: value for name, value in os.environ.items() if value or name not in DEFAULTS}
    return DEFAULTS | given


def knows_relevance(program):
    told = subprocess.run([program, "soak", "--help"], capture_output=True, text=True, check=False)
    return "--relevance" in told.stdout


def relevance(program, query_file):
    """The flags that have answers judged, where there are judgments for the queries."""
    if named := os.environ.get("RELEVANCE_FILE"):
        if not knows_relevance(program):
            fail(USAGE, f"RELEVANCE_FILE is set, and {program} has no `soak --relevance`",
                 "take a newer alfred, or unset RELEVANCE_FILE")
        return ["--relevance", named]
    default = pathlib.Path(DEFAULTS["QUERY_FILE"])
    asked = pathlib.Path(query_file)
    is_default = asked.exists() and default.exists() and asked.samefile(default)
    if is_default and RELEVANCE.exists() and knows_relevance(program):
        return ["--relevance", str(RELEVANCE)]
    return []


def run(command, variables):
    """(exit code, standard output). Ctrl-C reaches alfred by itself; what else ends this ends it too."""
    child = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True, encoding="utf-8")
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: child.send_signal(number))
    text = child.communicate()[0]
    return child.returncode if child.returncode >= 0 else 128 - child.returncode, text


def milliseconds(value):
    """As 5.4ms or 220ms; a dash for what was not measured."""
    return "–" if value is None else f"~{value:.1f}".removesuffix(".0") + "ms"


def p95_mark(verdict):
    """Whether p95 of the whole run held its threshold; nothing when there was none or nothing is judged."""
    held = [one["pass"] for one in verdict["thresholds"]
            if one["expr"].startswith("p95<") and one["scope"] == "run"]
    if verdict["verdict"] == "INVALID":
        return " (not judged)"
    return "" if not held else " ✅" if all(held) else " ❌"


VERDICTS = {"PASS": "✅ PASS", "FAIL": "❌ FAIL",
            "INVALID": "⚠️ INVALID: the run cannot be judged, neither as PASS nor as FAIL"}


def hit_rate(verdict):
    """Share of answers among whose first three citations is a document that answers; None when it was not
    looked at."""
    return verdict.get("hit_rate")


def block(verdict, mark=""):
    """The result for people. `mark` stands on every line that could be taken for a verdict."""
    counts, latency = verdict["counts"], verdict["response_ms"]
    lines = [f"📊 {mark}Performance Test Results", "=" * 40,
             f"Total requests: {counts['due']}",
             f"Successful: {counts['ok']}",
             f"Error rate: {verdict['error_rate'] or 0:.2%}"]
    if (rate := hit_rate(verdict)) is not None:
        lines.append(f"Hit rate@3: {rate:.1%}")
    lines += ["", "Latency percentiles:",
              f"  p50: {milliseconds(latency['p50'])}",
              f"  p95: {milliseconds(latency['p95'])}{p95_mark(verdict)}",
              f"  p99: {milliseconds(latency['p99'])}",
              "", mark + VERDICTS[verdict["verdict"]]]
    return "\n".join(lines + [f"  - {reason}" for reason in verdict["reasons"]])


def figures(verdict):
    """The result for scripts: a name and a plain number a line."""
    def plain(value):
        return "nan" if value is None else f"{value:.6f}".rstrip("0").rstrip(".")

    named = [("p95_latency_ms", verdict["response_ms"]["p95"]), ("error_rate", verdict["error_rate"])]
    if (rate := hit_rate(verdict)) is not None:
        named.append(("hit_rate_at_3", rate))
    return "\n".join(f"{name}: {plain(value)}" for name, value in named)


def main():
    if any(word in ("-h", "--help") for word in sys.argv[1:]):
        print(__doc__.strip())
        return 0
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")
    program, variables = alfred(), environment()
    command = [program, "soak", "--json", *relevance(program, variables["QUERY_FILE"]), *sys.argv[1:]]
    code, text = run(command, variables)
    try:
        verdict = json.loads(text)
        result = f"{block(verdict)}\n\n{figures(verdict)}"
    except (ValueError, KeyError, TypeError):
        print(f"no result: alfred soak ended with {code}", file=sys.stderr)
        return code or FAILED
    print(result)
    return code


if __name__ == "__main__":
    sys.exit(main())
