"""The verdict that a release rests on: a run of `alfred soak`, judged again from what it recorded.

A run does not know the commit of its target. So its name does: `gate-<commit>`, given by whoever
builds that commit and measures it (this script, or the workflow gate.yml), which is what RUN_NAME
and RUN_DIR of scripts/run are for.
"""

import dataclasses
import datetime
import json
import os
import pathlib
import shutil
import tempfile
import urllib.parse

from common import Refused, answer, command_of, say, work

# What a release promises, whatever thresholds the scenario of the run had.
LIMIT_P95_MS = 300.0
LIMIT_ERROR_RATE = 0.01
# The gate is 10 requests a second for 60 s. Random arrivals may be some fewer, a last window short.
QPS, DURATION = "10", "60s"
LEAST_DUE = 540
LEAST_MEASURED_S = 59.0
MOST_AGE = datetime.timedelta(days=1)
# Between the clocks of two machines.
MOST_AHEAD = datetime.timedelta(minutes=5)
ROUTE = "/v1/query"
# What judging again reads.
RECORDED = ("run.json", "windows.jsonl", "latency.hlog", "events.jsonl")
# alfred says so of a run without a verdict, and this one was taken away from a copy.
NO_VERDICT = "did not end: it has no verdict"
AGAIN = ("measure this commit: RUN_NAME=gate-$(git rev-parse HEAD) RUN_DIR=target/gate scripts/run, "
         "and rest on that: --gate target/gate")


@dataclasses.dataclass
class Gate:
    """A run that passed, and its figures."""

    folder: pathlib.Path
    p50_ms: float
    p95_ms: float
    p99_ms: float
    error_rate: float
    due: int
    measured_s: float
    start: str

    def figures(self):
        """In words, as the tag and the notes have them."""
        return (f"p95 {self.p95_ms:.2f} ms (below {LIMIT_P95_MS:.0f} ms), "
                f"p50 {self.p50_ms:.2f} ms, p99 {self.p99_ms:.2f} ms, "
                f"errors {self.error_rate:.2%} (below {LIMIT_ERROR_RATE:.0%})\n"
                f"{self.due} requests to {ROUTE} in {self.measured_s:.0f} s, "
                f"measured from when each was due, {self.start}")


def name_of(commit):
    """The name that a run of this commit's gate has."""
    return f"gate-{commit}"


def alfred(release):
    """The program that judges again: ALFRED, the release build, or the installed one."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    built = release.root / target / "release/alfred"
    named = os.environ.get("ALFRED") or (str(built) if built.exists() else shutil.which("alfred"))
    if not named:
        raise Refused("there is no alfred that could judge the run again",
                      "cargo build --release, or set ALFRED to a program")
    return os.path.abspath(named) if os.sep in named else named


def read_object(path):
    """A file with one JSON object."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Refused(f"{path.parent} has no {path.name}: it is no finished run", AGAIN)
    except (OSError, ValueError) as error:
        raise Refused(f"{path} cannot be read: {error}", AGAIN)
    if not isinstance(value, dict):
        raise Refused(f"{path} holds no JSON object", AGAIN)
    return value


def check_not_made_up(folder):
    """perf/mock_performance_results.py marks what it writes; nothing of it decides a release."""
    files = [folder] if folder.is_file() else sorted(folder.glob("*.json"))
    for file in files:
        if read_object(file).get("mock"):
            raise Refused(f'{file} is made up: it says "mock": true', AGAIN)
    if not folder.is_dir():
        raise Refused(f"{folder} is no run folder of alfred soak", f"name a folder with run.json; or {AGAIN}")


def check_of_this(release, folder, run, now):
    """The run measured this commit's queries, a moment ago; when it began."""
    try:
        name, version, target = run["name"], run["version"], str(run["target"])
        start = datetime.datetime.fromisoformat(run["start"]["wall"][:19] + "+00:00")
    except (KeyError, TypeError, ValueError):
        raise Refused(f"{folder}/run.json is damaged", AGAIN)
    if name != name_of(release.commit):
        raise Refused(f"{folder} is not of this commit: its name is {name}, "
                      f"not {name_of(release.commit)}", AGAIN)
    if version != release.version:
        raise Refused(f"{folder} was made by alfred {version}, not {release.version}", AGAIN)
    if urllib.parse.urlsplit(target.rsplit(":", 1)[1] if target.startswith("unix:") else target).path != ROUTE:
        raise Refused(f"{folder} measured {target}, and the gate is of {ROUTE}", AGAIN)
    if now - start > MOST_AGE:
        raise Refused(f"{folder} is too old: it was measured at {start:%Y-%m-%d %H:%M} UTC, "
                      "and a verdict holds for a day", AGAIN)
    if start - now > MOST_AHEAD:
        raise Refused(f"{folder} is from the future: {start:%Y-%m-%d %H:%M} UTC",
                      "set this machine's clock: timedatectl")
    return f"{start:%Y-%m-%d %H:%M} UTC"


def judged_again(release, folder):
    """The verdict as alfred makes it from windows and histograms alone, verdict.json left out."""
    with tempfile.TemporaryDirectory(prefix="alfred-gate-") as copy:
        for name in RECORDED:
            if (folder / name).exists():
                shutil.copy(folder / name, copy)
        code, out, error = answer([alfred(release), "report", copy, "--format", "json"], release.root)
    if code:
        raise Refused(f"{folder} cannot be judged again: {error}", AGAIN)
    return json.loads(out)


def problems(verdict, again, events):
    """What speaks against a PASS: first what the run says itself, then what its records say."""
    found = []
    if verdict.get("verdict") != "PASS":
        found.append(f"it ended in {verdict.get('verdict')}: {'; '.join(verdict.get('reasons', []))}")
    for threshold in again["thresholds"]:
        if not threshold["pass"]:
            found.append(f"{threshold['expr']} ({threshold['scope']}) did not hold: {threshold['value']}")
    found += [reason for reason in again["reasons"]
              if NO_VERDICT not in reason and not reason.startswith("besides, ")]
    found += [f"{drift['series']} drifted: {drift['reason']}" for drift in again["drift"]
              if drift["status"] == "fail"]
    found += [f"{step['series']} stepped up at {step['at_s']} s" for step in again["steps"] if not step["pass"]]
    if verdict.get("coverage", {}).get("suspended_ms") or '"event":"suspended"' in events:
        found.append("the machine was suspended meanwhile")
    p95, error_rate = again["response_ms"]["p95"], again["error_rate"]
    if p95 is None or p95 >= LIMIT_P95_MS:
        found.append(f"p95 of response is {p95} ms, and has to be below {LIMIT_P95_MS:.0f} ms")
    if error_rate is None or error_rate >= LIMIT_ERROR_RATE:
        found.append(f"the error rate is {error_rate}, and has to be below {LIMIT_ERROR_RATE}")
    due, measured_s = again["counts"]["due"], again["coverage"]["measured_s"]
    if due < LEAST_DUE or measured_s < LEAST_MEASURED_S:
        found.append(f"it is too short: {due} requests in {measured_s:g} s, and the gate is {QPS}/s "
                     f"for {DURATION}")
    for figures in ("response_ms", "counts", "error_rate"):
        if verdict.get(figures) != again[figures]:
            found.append(f"verdict.json does not agree with what was recorded: {figures} is "
                         f"{verdict.get(figures)} there, and {again[figures]} by the records")
    return list(dict.fromkeys(found))


def read(release, folder, now=None):
    """The gate in a run folder, or a refusal."""
    folder = pathlib.Path(folder).absolute()
    now = now or datetime.datetime.now(datetime.timezone.utc)
    check_not_made_up(folder)
    run, verdict = read_object(folder / "run.json"), read_object(folder / "verdict.json")
    start = check_of_this(release, folder, run, now)
    again = judged_again(release, folder)
    events = folder / "events.jsonl"
    against = problems(verdict, again, events.read_text() if events.exists() else "")
    if against:
        raise Refused(f"the gate in {folder} is not green: " + "; ".join(against),
                      f"see alfred report {folder}, and docs/soak.md; mend the cause, then {AGAIN}")
    response = again["response_ms"]
    return Gate(folder, response["p50"], response["p95"], response["p99"], again["error_rate"],
                again["counts"]["due"], again["coverage"]["measured_s"], start)


def recorded(release):
    """The last finished run of this commit's gate that is not too old, or None. One that is not green
    counts too: a gate is not thrown like dice."""
    now = datetime.datetime.now(datetime.timezone.utc)
    for folder in sorted(release.folder.glob("gate/*"), reverse=True):
        if not (folder / "verdict.json").exists():
            continue
        try:
            check_of_this(release, folder, read_object(folder / "run.json"), now)
        except Refused:
            continue
        return folder
    return None


def measure(release):
    """Builds this commit, serves the manual, and puts it under load for a minute."""
    now = datetime.datetime.now(datetime.timezone.utc)
    folder = release.folder / "gate" / f"{now:%Y%m%dT%H%M%SZ}-{release.commit[:12]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    command = command_of("RELEASE_GATE_COMMAND", "scripts/run")
    settings = {"RUN_NAME": name_of(release.commit), "RUN_DIR": str(folder), "QPS": QPS,
                "DURATION": DURATION, "QUERY_FILE": "perf/queryset.txt"}
    code = work(release, "RELEASE_GATE_COMMAND", command, settings)
    if code and not (folder / "verdict.json").exists():
        raise Refused(f"{command[0]} ended with {code} and no verdict", "its output is above")
    return folder


def step(release, given):
    """The gate of this commit: the run that was given, the one recorded earlier, or a new one."""
    folder = given or recorded(release)
    if folder is None:
        if release.dry_run:
            say(f"would measure {' '.join(command_of('RELEASE_GATE_COMMAND', 'scripts/run'))}: {QPS}/s for "
                f"{DURATION}, recorded in {release.show(release.folder / 'gate')}, and refuse what is not PASS")
            return None
        folder = measure(release)
    try:
        gate = read(release, folder)
    except Refused as refused:
        if not given:
            refused.hint += f"; or, where the machine was too busy: rm -r {release.show(folder)}, and again"
        raise
    say(f"PASS, judged again from {release.show(folder)}:\n{gate.figures()}")
    return gate
