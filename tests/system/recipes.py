"""What docs/operating.md tells an operator to do, done: each section's commands are run on a daemon in
that trouble, and what the page shows is what comes."""

import contextlib
import os
import re
import sys
import time

import postgres
from machine import Failed, wait_for
from scenario import HERE, SOURCE, Load, check, drop_in, equal, make_corpus, prop, reset, scenario, status_of, wait_ready

PAGE = SOURCE / "docs/operating.md"
WATCHDOG_S = 4
PROVIDER_PORT = 18429
# Set, what comes is printed instead of compared: for whoever writes the page.
RECORD = "ALFRED_RECIPES_RECORD" in os.environ


def commands(heading):
    """The commands of a section and the lines that the page shows below each: [(command, [line])]."""
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", PAGE.read_text(), re.M | re.S)
    if section is None:
        raise Failed(f"{PAGE.name} has no section: {heading}")
    found = []
    for line in section[1].splitlines():
        if line.startswith("    $ "):
            found.append((line[6:], []))
        elif line.startswith("    ") and found:
            found[-1][1].append(line[4:])
    check(found, f"no commands under: {heading}")
    return found


def shape(line):
    """A line without what differs from one time to the next: figures, ids, dates, and "…" for the rest
    of a line."""
    line = re.sub(r"[0-9a-f]{16,}", "ID", line)
    return re.sub(r"\d+([.,:]\d+)*(e-?\d+)?", "N", re.sub(r"\s+", " ", line)).strip()


def matches(shown, came):
    """Whether a line of the page is a line that came; "…" stands for anything."""
    pattern = ".*".join(re.escape(part) for part in shape(shown).split("…"))
    return re.fullmatch(pattern, shape(came)) is not None


def follow(machine, heading):
    """Runs the section's commands in order; each line that the page shows has to come, in its order."""
    for command, shown in commands(heading):
        ended = machine.run(command, check=False)
        came = (ended.stdout + ended.stderr).splitlines()
        if RECORD:
            print("\n".join([f"    $ {command}", *("    " + line for line in came)]), flush=True)
            continue
        left = list(came)
        for line in shown:
            while left and not matches(line, left[0]):
                left.pop(0)
            text = "\n".join(came)
            check(left, f"the page shows {line!r}; `{command}` printed:\n{text}")
            left.pop(0)
    return f"{len(commands(heading))} commands"


def ingest(machine):
    """Something to answer from."""
    make_corpus(machine, "/srv/recipe", 20)
    machine.run("alfred ingest '/srv/recipe/*.md' --root /srv/recipe")


@scenario("recipe-p95")
def latency(machine, context):
    """p95 above the target: where the time goes, less load, a profile."""
    ingest(machine)
    load = Load(machine, 20, 100)
    try:
        return follow(machine, "What should I do if p95 is above 300 ms?")
    finally:
        load.stop()


@scenario("recipe-reload-refused")
def refused(machine, context):
    """A reload that was refused: who says why, and what is in force."""
    wrong = "/etc/alfred/conf.d/50-limits.toml"
    machine.write(wrong, "[server]\nmax_in_flight = \"many\"\n")
    try:
        return follow(machine, "Troubleshooting: a reload is refused")
    finally:
        machine.remove(wrong)
        machine.run("systemctl reload alfred")


@scenario("recipe-watchdog")
def watchdog(machine, context):
    """A restart by the watchdog: how it is seen, and why it was."""
    with drop_in(machine, "watchdog.conf", f"[Service]\nWatchdogSec={WATCHDOG_S}s\n"):
        wait_ready(machine)
        pid = prop(machine, "alfred.service", "MainPID")
        machine.run(f"kill -STOP {pid}")
        wait_for("another process", lambda: prop(machine, "alfred.service", "MainPID") not in (pid, "0"), 30)
        wait_ready(machine)
        words = follow(machine, "Troubleshooting: the watchdog restarted alfred")
    wait_ready(machine)
    return words


@scenario("recipe-memory")
def memory(machine, context):
    """Memory: what the daemon holds, who holds it, and a limit."""
    try:
        return follow(machine, "Troubleshooting: alfred takes too much memory")
    finally:
        reset(machine)


@scenario("recipe-soak-invalid")
def invalid(machine, context):
    """A soak that is INVALID says why."""
    return follow(machine, "Troubleshooting: a soak run is INVALID")


@contextlib.contextmanager
def provider(machine):
    """A provider that is out of quota, on a loopback port of the machine."""
    process = machine.start([sys.executable, str(HERE / "quota.py"), str(PROVIDER_PORT)], network_only=True)
    try:
        check(process.stdout.readline().strip() == "ready", "the provider does not start")
        yield
    finally:
        process.kill()
        process.communicate()


@scenario("recipe-quota")
def quota(machine, context):
    """The provider answers 429: who sees it, and where it is counted."""
    place = "/etc/alfred/conf.d/50-provider.toml"
    ingest(machine)
    with provider(machine):
        machine.write(place, f"[embedding]\nbase_url = \"http://127.0.0.1:{PROVIDER_PORT}/v1\"\n\n"
                      "[answer]\nkind = \"generated\"\nmodel = \"gpt-4o-mini\"\n")
        machine.write("/etc/credstore/alfred.openai_api_key", "sk-recipe-0000\n", 0o600)
        try:
            machine.run("systemctl restart alfred")
            wait_for("it answers", lambda: status_of(machine, "/healthz") == 200)
            return follow(machine, "Troubleshooting: the provider answers 429")
        finally:
            machine.remove(place, "/etc/credstore/alfred.openai_api_key")
            reset(machine)


@scenario("recipe-not-ready", spoils=True)
def not_ready(machine, context):
    """Not ready: the daemon names what is missing, and recovers by itself."""
    postgres.set_up(machine)
    with drop_in(machine, "postgres.conf", machine.out("cat /usr/share/doc/alfred/examples/postgres.conf")):
        wait_ready(machine)
        machine.run("systemctl stop postgresql")
        wait_for("/readyz says so", lambda: status_of(machine) == 503)
        wait_for("the status line says so",
                 lambda: "waiting for" in prop(machine, "alfred.service", "StatusText"))
        words = follow(machine, "Troubleshooting: alfred is not ready")
        machine.run("systemctl start postgresql")
        wait_ready(machine)
    return words


@scenario("recipe-pool", spoils=True)
def pool(machine, context):
    """Calls wait for the database: the metrics that say so."""
    postgres.set_up(machine)
    with drop_in(machine, "postgres.conf", machine.out("cat /usr/share/doc/alfred/examples/postgres.conf")):
        wait_ready(machine)
        ingest(machine)
        # Somebody holds the tables for longer than calls may wait.
        holder = machine.start("cd /tmp && runuser -u postgres -- psql -qd alfred -c"
                               " 'BEGIN; LOCK documents; SELECT pg_sleep(20)'")
        machine.write("/etc/alfred/conf.d/50-pool.toml",
                      "[store]\npool_size = 2\npool_timeout_ms = 200\nstatement_timeout_ms = 15000\n")
        machine.run("systemctl restart alfred", check=False)
        load = Load(machine, 10, 20)
        try:
            time.sleep(4)
            return follow(machine, "Troubleshooting: calls wait for the database")
        finally:
            load.stop()
            holder.kill()
            holder.communicate()
