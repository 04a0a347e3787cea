"""What clients see while something is wrong with the daemon: a load of every kind of request, the fault,
and what became of each. A scenario ends in it, and with --write-docs its row of docs/failure-modes.md."""

import collections
import contextlib
import dataclasses
import itertools
import json
import re
import signal
import subprocess
import sys
import time
import urllib.parse

import load
from machine import Failed, wait_for
from scenario import HERE, SOURCE, Skip, check, cursor, journal, prop, wait_ready

# A reply that took longer is not well.
WELL_S = 1.0
# The longest that a load lasts; scenarios end it long before.
MOST_S = 240
# What clients see of a process that dies: the connection goes with it.
BROKEN = ("reset", "cut", "closed without an answer")
# Longest words of the journal that a row shows.
SHOWN = 220

_tags = itertools.count()


@dataclasses.dataclass
class Reply:
    """What became of one request; times in seconds of CLOCK_MONOTONIC."""

    number: int
    kind: str
    due: float
    ended: float
    outcome: str

    @property
    def took(self):
        """Seconds from when it was due."""
        return self.ended - self.due

    def is_well(self):
        """Whether it is what a client wants."""
        return self.outcome == "200" and self.took < WELL_S


@dataclasses.dataclass
class Seen:
    """What a fault came to."""

    replies: list
    recovery_s: float
    confirmed: int
    lost: int
    said: list
    by_kind: bool
    note: str = ""

    @property
    def slowest_s(self):
        """Seconds, of the slowest reply."""
        return max(reply.took for reply in self.replies)

    def outcomes(self, kind=None):
        """How many replies had each outcome, the most frequent first."""
        found = [reply.outcome for reply in self.replies if kind in (None, reply.kind)]
        return ", ".join(f"{outcome} × {count}" for outcome, count in collections.Counter(found).most_common())

    def clients(self):
        """What clients saw, by kind where kinds differ."""
        kinds = sorted({reply.kind for reply in self.replies})
        bad = [kind for kind in kinds if any(r.outcome != "200" for r in self.replies if r.kind == kind)]
        if not self.by_kind or not bad:
            return self.outcomes()
        good = [kind for kind in kinds if kind not in bad]
        parts = [f"{kind}: {self.outcomes(kind)}" for kind in bad]
        if good:
            parts.append(f"{', '.join(good)}: 200 × {sum(reply.kind in good for reply in self.replies)}")
        return "; ".join(parts)

    def words(self):
        """For the line of the scenario."""
        return (f"{self.clients()}; slowest {self.slowest_s:.2f} s, well again after {self.recovery_s:.2f} s,"
                f" {self.lost} of {self.confirmed} documents lost" + (f"; {self.note}" if self.note else ""))

    def row(self, case):
        """For the table of the page."""
        # Two marks around what has one in it.
        said = "; ".join(f"`` {words} ``" if "`" in words else f"`{words}`" for words in self.said) or "nothing"
        cells = [case, self.clients(), f"{self.slowest_s:.2f} s", f"{self.recovery_s:.2f} s",
                 f"{self.lost} of {self.confirmed}", said.replace("|", "\\|")]
        return "| " + " | ".join(cells) + " |"


def post(machine, path, body):
    """Sends a JSON object over the daemon's socket of local commands; fails unless it is answered with 200."""
    machine.run("curl -sf -m 20 --retry 3 -o /dev/null --unix-socket /run/alfred/alfred.sock -H 'content-type: application/json'"
                f" -d @- http://localhost{path}", stdin=json.dumps(body))


def stored(machine, tag):
    """The sources of the documents of a load that the daemon has."""
    found, cursor_words = set(), ""
    while True:
        listed = json.loads(machine.out(
            "curl -sf -m 20 --unix-socket /run/alfred/alfred.sock"
            f" 'http://localhost/v1/documents?limit=100&source=load/{tag}/*{cursor_words}'"))
        found.update(document["source"] for document in listed["documents"])
        if not listed.get("next_cursor"):
            return found
        cursor_words = "&cursor=" + urllib.parse.quote(listed["next_cursor"], safe="")


class Watch:
    """A running load. Times are taken with `fault` and `mended`; `end` holds the daemon to its promises."""

    def __init__(self, machine, rate):
        self.machine = machine
        self.tag = f"run{next(_tags)}-{int(time.time())}"
        for question in load.KNOWN:
            post(machine, "/v1/query", {"query": question})
        self.mark = cursor(machine)
        client = [sys.executable, str(HERE / "load.py"), "--seconds", str(MOST_S), "--rate", str(rate)]
        client += ["--queries", str(SOURCE / "perf/queryset.txt"), "--mix", self.tag]
        self.process = machine.start(client, network_only=True)
        self.began = self.mended_at = None

    def fault(self):
        """The fault begins now."""
        self.began = self.mended_at = time.monotonic()

    def mended(self):
        """What was broken is whole again: from now on recovery is counted. Where a process is at fault,
        nobody mends it, and recovery is counted from when the fault began."""
        self.mended_at = time.monotonic()

    def age_s(self):
        """Seconds since the fault began."""
        return time.monotonic() - self.began

    def stop(self):
        """Ends the client, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def wait_well(self, within_s):
        """Waits until three questions in a row, of which nobody knows the embedding, are answered quickly."""
        well = 0
        deadline = time.monotonic() + within_s + 5
        while well < 3 and time.monotonic() < deadline:
            body = json.dumps({"query": f"Is all well, {self.tag} {deadline - time.monotonic()}?"})
            begin = time.monotonic()
            asked = self.machine.run("curl -sf -m 5 -o /dev/null -H 'content-type: application/json' -d @-"
                                     " http://127.0.0.1:8080/v1/query", check=False, stdin=body)
            well = well + 1 if asked.returncode == 0 and time.monotonic() - begin < WELL_S / 2 else 0

    def replies(self):
        """Sends no more; every reply, by due time."""
        self.process.send_signal(signal.SIGTERM)
        try:
            output, errors = self.process.communicate(timeout=load.TIMEOUT_S + 15)
        except subprocess.TimeoutExpired:
            raise Failed("the load client does not end") from None
        check(self.process.returncode == 0, lambda: "the load client failed: " + errors[-1000:])
        found = [Reply(*words) for words in json.loads(output)["replies"]]
        return sorted(found, key=lambda reply: reply.due)

    def lost(self, replies):
        """How many documents were confirmed, and how many of them are not there."""
        sources = {f"load/{self.tag}/{reply.number}.md" for reply in replies
                   if reply.kind == "writes" and reply.outcome == "200"}
        return len(sources), len(sources - stored(self.machine, self.tag))

    def said(self, patterns):
        """What of the journal since the load began fits each pattern; fails where nothing does. Without a
        pattern: the first lines in which the daemon warns, if there are any."""
        self.machine.run("journalctl --sync")
        entries = journal(self.machine, self.mark)
        messages = [str(entry.get("MESSAGE", "")) for entry in entries]
        found = []
        if not patterns:
            warnings = [str(entry["MESSAGE"]) for entry in entries
                        if entry.get("SYSLOG_IDENTIFIER") == "alfred" and int(entry.get("PRIORITY", 6)) <= 4]
            patterns = [re.escape(text) for text in dict.fromkeys(warnings)][:2]
        for pattern in patterns:
            match = next((re.search(pattern, text) for text in messages if re.search(pattern, text)), None)
            check(match, lambda: f"the journal says nothing like {pattern!r}:\n" + "\n".join(messages[-25:]))
            words = match[0].splitlines()[0].strip()
            found.append(words if len(words) <= SHOWN else words[:SHOWN - 2] + " …")
        return found

    def end(self, within_s, may=(), until_s=None, says=(), by_kind=False, settle_s=1.0):
        """Waits until questions are answered quickly again, lets the load go on for `settle_s`, ends it, and
        answers what was seen. Fails when it was not well again `within_s` s after it was mended, when a
        reply was neither 200 nor one that `may` come (after `until_s` s of the fault none may), when a
        document that was confirmed is not there, or when the journal does not have what it `says`,
        patterns."""
        self.wait_well(within_s)
        time.sleep(settle_s)
        replies = self.replies()
        after = [reply for reply in replies if reply.ended >= self.began]
        bad = [reply for reply in after if not reply.is_well()]
        since = max([reply.due for reply in bad] + [self.mended_at])
        well = next((reply for reply in after if reply.due > since), None)
        check(well, lambda: f"it is not well again: the last reply was {after[-1] if after else 'before the fault'}")
        during = [reply for reply in after if reply.due <= well.due]
        wrong = [reply for reply in during if reply.outcome not in ("200", *may)
                 or (until_s is not None and reply.outcome != "200" and reply.due > self.began + until_s)]
        shown = [(reply.outcome, f"{reply.due - self.began:.2f} s") for reply in wrong[:8]]
        check(not wrong, f"{len(wrong)} of {len(during)} replies are not what may come, with the time from the fault: {shown}")
        confirmed, lost = self.lost(replies)
        seen = Seen(during, max(0.0, well.ended - self.mended_at), confirmed, lost, self.said(says), by_kind)
        check(seen.recovery_s <= within_s, f"well again after more than {within_s} s: {seen.words()}")
        check(lost == 0 and confirmed > 0, f"documents that were confirmed are not there: {seen.words()}")
        return seen


@contextlib.contextmanager
def watched(machine, rate=100, warm_s=1.0):
    """A load that runs while the block does; it is `warm_s` s old when the block begins."""
    watch = Watch(machine, rate)
    try:
        time.sleep(warm_s)
        check(watch.process.poll() is None, "the load client ended")
        yield watch
    finally:
        watch.stop()


def another_process(machine, pid, seconds=30):
    """Waits for another main process of the daemon, and answers it."""
    def other():
        found = machine.out("systemctl show --value -p MainPID alfred.service")
        return found if found not in (pid, "0", "") else None

    try:
        return wait_for("systemd starts another process", other, seconds)
    except Failed:
        group = "/sys/fs/cgroup/systemd/system.slice/alfred.service/cgroup.procs"
        waits = prop(machine, "alfred.service", "SubState") in ("stop-sigterm", "stop-sigkill", "final-sigkill")
        if not waits or machine.run(f"test -e {group} && ! grep -q . {group}", check=False).returncode != 0:
            raise
        # Seen with systemd 252: it waits for TimeoutStopSec= though the group is empty, of which version 1 of
        # control groups tells a container nothing.
        wait_ready(machine, 90)
        raise Skip("with cgroup v1 this systemd does not see here that the last process of the unit ended") from None
