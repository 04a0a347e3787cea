"""What scenarios share: how they are declared, how alfred is installed, what is asked often."""

import contextlib
import dataclasses
import json
import pathlib
import subprocess
import sys
import time
import typing

from machine import Failed, wait_for

HERE = pathlib.Path(__file__).parent
SOURCE = HERE.parent.parent
UPDATE = ("apt-get update -qq -o Dir::Etc::sourcelist=sources.list.d/alfred.sources"
          " -o Dir::Etc::sourceparts=- -o APT::Get::List-Cleanup=0")
ASK = "alfred query --json 'How do I upgrade?'"

_declared = []


class Skip(Exception):
    """Why a scenario cannot be tried here."""


@dataclasses.dataclass
class Entry:
    """A declared scenario."""

    name: str
    function: typing.Callable
    installed: bool
    spoils: bool
    long: bool
    row: str | None


def scenario(name, installed=True, spoils=False, long=False, row=None):
    """Declares a scenario: a function of a machine and a context that raises when something is
    wrong, and may answer words for its line. `installed`: alfred is installed before it begins.
    `spoils`: the next scenario needs a fresh machine. `long`: it takes minutes, and runs when it is
    asked for. `row`: it answers what clients saw of this fault (watch.Seen), which has a row of
    docs/failure-modes.md."""
    def declare(function):
        _declared.append(Entry(name, function, installed, spoils, long, row))
        return function
    return declare


def taken():
    """The scenarios declared since this was last called."""
    entries = list(_declared)
    _declared.clear()
    return entries


@dataclasses.dataclass
class Context:
    """The suite, the plain root and the repository of a run."""

    suite: str
    root: pathlib.Path
    repository: pathlib.Path
    retried: list = dataclasses.field(default_factory=list)
    rows: dict = dataclasses.field(default_factory=dict)

    def add_repository(self, machine):
        """Makes the repository known to apt, as docs/install.md says."""
        machine.run("install -m 644 /srv/repository/alfred.sources /etc/apt/sources.list.d/")
        machine.run(UPDATE)

    def install(self, machine):
        """Installs alfred as a user does, and waits until it is ready."""
        self.add_repository(machine)
        machine.run("apt-get install -y -q alfred")
        wait_ready(machine)


def check(condition, words):
    """Fails with these words unless the condition holds."""
    if not condition:
        raise Failed(words() if callable(words) else words)


def equal(found, expected, what):
    """Fails unless what was found is what was expected."""
    check(found == expected, f"{what}: {found!r} instead of {expected!r}")


def prop(machine, unit, name):
    """A property of a unit, as systemctl show prints it."""
    return machine.out(f"systemctl show --value -p {name} '{unit}'")


def status_of(machine, path="/readyz"):
    """The HTTP status of a path of the daemon, 0 without an answer."""
    asked = machine.run(f"curl -s -m 5 -o /dev/null -w '%{{http_code}}' http://127.0.0.1:8080{path}", check=False)
    return int(asked.stdout or 0)


def wait_ready(machine, seconds=30):
    """Waits until a query would be answered."""
    wait_for("the daemon is ready", lambda: status_of(machine) == 200, seconds)


def reset(machine):
    """Puts the daemon back to how it is after installation: no drop-ins, the shipped settings."""
    machine.run("rm -rf /etc/systemd/system/alfred* /etc/alfred/conf.d/*.toml; systemctl daemon-reload;"
                " systemctl reset-failed; systemctl start alfred.socket; systemctl restart alfred")
    wait_ready(machine)


@contextlib.contextmanager
def drop_in(machine, name, text, unit="alfred.service", restart=True):
    """A drop-in for a unit while the block runs."""
    path = f"/etc/systemd/system/{unit}.d/{name}"
    machine.write(path, text)
    machine.run("systemctl daemon-reload" + (f" && systemctl restart {unit}" if restart else ""))
    yield
    machine.remove(path)
    machine.run("systemctl daemon-reload" + (f" && systemctl restart {unit}" if restart else ""))


def journal(machine, since, words=""):
    """The journal since a cursor as a list of objects; `words` are more of journalctl's."""
    # Not --after-cursor: before systemd 255 it leaves out the first line that matches, too
    # (systemd#30288).
    text = machine.out(f"journalctl --no-pager -o json --cursor='{since}' {words}")
    lines = [json.loads(line) for line in text.splitlines()]
    return [line for line in lines if line["__CURSOR"] != since]


def cursor(machine):
    """Where the journal is now."""
    machine.run("journalctl --sync")
    return machine.out("journalctl -n 0 --show-cursor").rsplit("-- cursor: ", 1)[1].strip()


def message_id(subject):
    """The id of the message whose catalog subject has these words."""
    found = None
    for line in (SOURCE / "systemd/alfred.catalog").read_text().splitlines():
        if line.startswith("-- "):
            found = line[3:].strip()
        elif line.startswith("Subject:") and subject in line:
            return found
    raise Failed(f"the catalog has no message about: {subject}")


def documents(machine):
    """How many documents the daemon has."""
    return json.loads(machine.out("alfred store info --json"))["documents"]


def make_corpus(machine, folder, count, words=40):
    """Writes that many small Markdown files that differ."""
    machine.run(f"mkdir -p {folder}")
    place = machine.file(folder)
    for number in range(count):
        text = " ".join(f"word{(number * 7919 + k * 104729) % 5000}" for k in range(words))
        (place / f"doc{number:05}.md").write_text(f"# Note {number}\n\nUpgrade step {number}: {text}.\n")


class Load:
    """Requests against the daemon while something happens to it; every failure is counted."""

    def __init__(self, machine, seconds, rate=100.0, keep_alive=True, unix=False, key=None, ca_file=None):
        client = [sys.executable, str(HERE / "load.py"), "--seconds", str(seconds), "--rate", str(rate)]
        client += ["--queries", str(SOURCE / "perf/queryset.txt")]
        client += ["--keep-alive"] if keep_alive else []
        client += ["--unix", str(machine.file("/run/alfred/alfred.sock"))] if unix else []
        client += ["--key", key] if key else []
        client += ["--ca-file", str(ca_file)] if ca_file else []
        self.process = machine.start(client, network_only=True)
        self.until = time.monotonic() + seconds

    def running(self):
        """Whether requests still become due."""
        return time.monotonic() < self.until and self.process.poll() is None

    def result(self):
        """Waits for the end; answers the counts."""
        output, errors = self.process.communicate(timeout=max(0, self.until - time.monotonic()) + 60)
        if self.process.returncode != 0:
            raise Failed("the load client failed: " + errors[-1000:])
        return json.loads(output)

    def stop(self):
        """Ends the client, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


def all_answered(results, least):
    """Fails unless every request of every client was answered with 200."""
    sent = sum(result["sent"] for result in results)
    bad = {}
    for result in results:
        for cause, count in result["failed"].items():
            bad[cause] = bad.get(cause, 0) + count
    check(not bad, f"{sum(bad.values())} of {sent} requests failed: {bad}")
    check(sent >= least, f"only {sent} requests were sent, {least} expected")
    slowest = max(result["slowest_ms"] for result in results)
    return f"{sent} requests, 0 failed, slowest {slowest:.0f} ms"


def repack(deb, output, version):
    """The same package under another version: what the previous build was."""
    work = output.parent / (output.name + ".unpacked")
    subprocess.run(["dpkg-deb", "-R", deb, work], check=True)
    control = work / "DEBIAN/control"
    lines = [f"Version: {version}" if line.startswith("Version:") else line
             for line in control.read_text().splitlines()]
    control.write_text("\n".join(lines) + "\n")
    subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "-b", work, output],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["rm", "-rf", work], check=True)
