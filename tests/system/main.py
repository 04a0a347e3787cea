"""Runs the scenarios of scripts/system-test, which see: a line each, then a count."""

import argparse
import pathlib
import signal
import sys
import time
import traceback

import page
import scenario
from machine import Failed, Machine
from watch import Seen

# In this order; each file is a topic, whose scenarios share a machine while they pass.
TOPICS = ("install", "journal", "profiles", "process", "watchdog", "restart", "access", "postgres", "stack", "corpus",
          "soak", "recipes", "clocks", "names", "faults", "upgrade", "rpm")


def stop(signum, _frame):
    """A signal ends the run like an error, so that nothing is left behind."""
    raise SystemExit(128 + signum)


def run_one(entry, machine, context):
    """Runs a scenario. Answers (result, words)."""
    try:
        answer = entry.function(machine, context)
        if entry.row:
            scenario.check(isinstance(answer, Seen), "a scenario with a row answers what clients saw")
            context.rows[entry.row] = answer.row(entry.row)
            return "ok", answer.words()
        return "ok", answer or ""
    except scenario.Skip as reason:
        return "skipped", str(reason)
    except Failed as problem:
        return "FAIL", str(problem)
    except Exception:  # a defect of the scenario is a failure too
        return "FAIL", traceback.format_exc().strip()


def evidence(machine):
    """What helps to understand a failure."""
    if machine.leader is None:
        return machine.console()
    return machine.run("systemctl --failed --no-legend; systemctl status --no-pager --lines=0 alfred;"
                       " journalctl --no-pager --quiet -o short-monotonic -n 25", check=False).stdout


def run_topic(entries, context, results):
    """Runs the scenarios of one topic on one machine; after a failure the next gets a fresh one."""
    machine = None
    try:
        for entry in entries:
            begin = time.monotonic()
            try:
                if machine is None:
                    machine = Machine(context.root, [(context.repository, "/srv/repository")])
                    machine.boot()
                    if entry.installed:
                        context.install(machine)
                result, words = run_one(entry, machine, context)
            except Failed as problem:
                result, words = "FAIL", f"before it began: {problem}"
            if result == "FAIL" and entry.name not in context.retried:
                # Once more on a fresh machine: what fails twice is no accident of a busy host.
                context.retried.append(entry.name)
                print(f"again   {entry.name:30} {words.splitlines()[0] if words else ''}", flush=True)
                if machine:
                    machine.close()
                    machine = None
                entries.insert(entries.index(entry) + 1, entry)
                continue
            took = time.monotonic() - begin
            first, *rest = words.splitlines() or [""]
            print(f"{result:7} {entry.name:30} {took:6.1f} s  {first}".rstrip(), flush=True)
            results.append(result)
            if result == "FAIL":
                shown = rest + (["-- journal --", *evidence(machine).splitlines()] if machine else [])
                print("\n".join("        " + line for line in shown), flush=True)
            if machine and (result == "FAIL" or entry.spoils):
                machine.close()
                machine = None
    finally:
        if machine:
            machine.close()


def is_wanted(entry, arguments):
    """Whether a scenario runs: all but the long ones, or those that were named."""
    if arguments.names:
        return any(entry.name.startswith(name) for name in arguments.names)
    return arguments.long or not entry.long


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--check-docs", action="store_true")
    parser.add_argument("--write-docs", action="store_true")
    parser.add_argument("--suite", default="trixie")
    parser.add_argument("--root", type=pathlib.Path)
    parser.add_argument("--repository", type=pathlib.Path)
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    topics = {topic: [] for topic in TOPICS}
    for topic in TOPICS:
        __import__(topic)
        topics[topic] = scenario.taken()
    if arguments.list:
        for entry in sum(topics.values(), []):
            print(f"{entry.name:30} {entry.function.__doc__.splitlines()[0]}")
        return 0
    cases = [entry.row for entry in sum(topics.values(), []) if entry.row]
    if arguments.check_docs:
        return told(page.problem(cases))
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, stop)
    context = scenario.Context(arguments.suite, arguments.root, arguments.repository)
    results = []
    for entries in topics.values():
        wanted = [entry for entry in entries if is_wanted(entry, arguments)]
        run_topic(wanted, context, results)
    if not results:
        print("no scenario has such a name; see scripts/system-test --list", file=sys.stderr)
        return 2
    counts = {result: results.count(result) for result in ("ok", "FAIL", "skipped")}
    print(f"\n{counts['ok']} ok, {counts['FAIL']} failed, {counts['skipped']} skipped of {len(results)}")
    if context.retried:
        print(f"passed or failed at the second try: {', '.join(context.retried)}")
    if arguments.write_docs:
        page.write(cases, context.rows)
    return told(page.problem(cases)) or (1 if counts["FAIL"] else 0)


def told(problem):
    """Prints a problem of the page; answers the exit status."""
    if problem:
        print(problem, file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
