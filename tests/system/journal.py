"""What the journal holds."""

import json
import os
import signal
import socket
import time

from machine import host_pid, wait_for
from scenario import (ASK, check, cursor, drop_in, equal, journal, make_corpus, message_id, prop,
                      scenario, wait_ready)
from watch import watched

FROZEN_S = 4
SECRET = "sk-do-not-show-5d41402abc4b"


@scenario("journal-fields")
def fields(machine, context):
    """The start is in the journal with its MESSAGE_ID, fields and priority, once; -x explains it."""
    mark = cursor(machine)
    machine.run("systemctl restart alfred")
    wait_ready(machine)
    machine.run("journalctl --sync")
    started = journal(machine, mark, f"MESSAGE_ID={message_id('is ready')}")
    equal(len(started), 1, "messages that alfred is ready")
    entry = started[0]
    equal(entry["_SYSTEMD_UNIT"], "alfred.service", "its unit")
    for field in ("ALFRED_VERSION", "ALFRED_DOCUMENTS", "ALFRED_TOOK_MS"):
        check(field in entry, f"{field} is missing among {sorted(entry)}")
    check(entry["PRIORITY"] in ("5", "6"), f"its priority is {entry['PRIORITY']}")
    own = [line for line in journal(machine, mark, "-u alfred") if line.get("_COMM") == "alfred"]
    messages = [line["MESSAGE"] for line in own]
    equal(len([text for text in messages if text == entry["MESSAGE"]]), 1, "times it was logged")
    check(not [line for line in own if line.get("_TRANSPORT") == "stdout" and line["MESSAGE"].startswith("{")],
          "lines of JSON on standard error beside the journal")
    text = machine.out(f"journalctl --no-pager -x --after-cursor='{mark}' -u alfred")
    check("Nothing needs to be done" in text, f"journalctl -x explains nothing:\n{text[-1500:]}")


@scenario("journal-reload")
def reload_is_logged(machine, context):
    """A reload, refused or done, is in the journal with its reason or with what changed."""
    mark = cursor(machine)
    machine.write("/etc/alfred/conf.d/50-test.toml", "[server]\nmax_in_flight = 31\n")
    machine.run("systemctl reload alfred")
    machine.write("/etc/alfred/conf.d/50-test.toml", "[server]\nmax_in_fligth = 31\n")
    refused = machine.run("systemctl reload alfred", check=False)
    machine.remove("/etc/alfred/conf.d/50-test.toml")
    machine.run("systemctl reload alfred")
    check(refused.returncode != 0, "a reload of a wrong configuration did not fail")
    machine.run("journalctl --sync")
    done = journal(machine, mark, f"MESSAGE_ID={message_id('was reloaded')}")
    check(done and "server.max_in_flight" in done[0].get("ALFRED_CHANGED", ""), f"reload done: {done}")
    bad = journal(machine, mark, f"MESSAGE_ID={message_id('refused a new configuration')}")
    check(bad and "max_in_fligth" in bad[0].get("ALFRED_REASON", ""), f"reload refused: {bad}")
    check(int(bad[0]["PRIORITY"]) <= 4, f"the priority of a refusal is {bad[0]['PRIORITY']}")


@scenario("journal-no-secret")
def no_secret(machine, context):
    """A secret given as a credential shows nowhere: journal, status, configuration, environment."""
    # With documents in it the store keeps to its model, whatever keys there are.
    make_corpus(machine, "/srv/secret", 1)
    machine.run("alfred ingest '/srv/secret/*.md' --root /srv/secret")
    machine.write("/etc/credstore/alfred.openai_api_key", SECRET + "\n", 0o600)
    try:
        with drop_in(machine, "debug.conf", "[Service]\nEnvironment=ALFRED__LOG__LEVEL=debug\n"):
            wait_ready(machine)
            pid = prop(machine, "alfred.service", "MainPID")
            credential = machine.run(f"nsenter -t {pid} -m cat /run/credentials/alfred.service/openai_api_key").stdout
            equal(credential.strip(), SECRET, "the credential that the daemon sees")
            machine.run(ASK, check=False)
            machine.run("systemctl reload alfred; systemctl kill -s USR1 alfred; alfred status", check=False)
            shown = machine.out("curl -s http://127.0.0.1:8080/v1/status; curl -s http://127.0.0.1:8080/metrics;"
                                f" tr '\\0' '\\n' </proc/{pid}/environ; tr '\\0' ' ' </proc/{pid}/cmdline;"
                                " systemctl show alfred; systemctl status alfred; alfred config show; alfred status;"
                                " journalctl --sync; journalctl --no-pager -o export", check=False)
            check(SECRET not in shown, "the secret shows: " + next(
                (line for line in shown.splitlines() if SECRET in line), "")[:200])
    finally:
        machine.remove("/etc/credstore/alfred.openai_api_key")
        machine.run("systemctl restart alfred")
    wait_ready(machine)


@scenario("journal-state-dump")
def state_dump(machine, context):
    """SIGUSR1 writes the state to the journal, and the daemon goes on."""
    mark = cursor(machine)
    pid = prop(machine, "alfred.service", "MainPID")
    machine.run("systemctl kill --kill-whom=main -s USR1 alfred")

    def dumped():
        machine.run("journalctl --sync")
        return journal(machine, mark, f"MESSAGE_ID={message_id('The state of alfred')}")

    entry = wait_for("the state is in the journal", dumped)[0]
    json.loads(entry["ALFRED_STATE"])
    equal(prop(machine, "alfred.service", "MainPID"), pid, "the process")


def arrives(machine, mark):
    """Waits for a line of the daemon that comes now."""
    machine.run("systemctl reload alfred")

    def arrived():
        machine.run("journalctl --sync")
        return journal(machine, mark, f"MESSAGE_ID={message_id('was reloaded')}")

    wait_for("a line of the daemon", arrived)


@scenario("journal-restarted", row="journald restarted three times")
def journald_restarted(machine, context):
    """journald is restarted: queries go on, later lines arrive."""
    with watched(machine) as watch:
        watch.fault()
        for _ in range(3):
            machine.run("systemctl restart systemd-journald")
            machine.run(ASK)
        watch.mended()
        arrives(machine, watch.mark)
        return watch.end(1, says=["the configuration was reloaded.*"])


@scenario("journal-full", row=f"journald stopped (SIGSTOP) for {FROZEN_S} s, its socket full")
def journald_full(machine, context):
    """journald stands still and its socket is full: no request waits for the log, every line arrives later."""
    pid, own = prop(machine, "systemd-journald.service", "MainPID"), prop(machine, "alfred.service", "MainPID")
    outside = host_pid(machine, own)
    with watched(machine) as watch:
        watch.fault()
        machine.run(f"kill -STOP {pid}")
        try:
            # Each asks the daemon to log its state.
            sent = flood(str(machine.file("/run/systemd/journal/socket")), FROZEN_S, lambda: os.kill(outside, signal.SIGUSR1))
        finally:
            machine.run(f"kill -CONT {pid}")
        watch.mended()
        arrives(machine, watch.mark)
        seen = watch.end(1, says=["the state of the daemon, in the field ALFRED_STATE or state"])
    dumps = journal(machine, watch.mark, f"MESSAGE_ID={message_id('The state of alfred')}")
    equal(len(dumps), FROZEN_S, "lines that the daemon logged meanwhile")
    equal(prop(machine, "alfred.service", "MainPID"), own, "the process")
    seen.note = f"{sent} lines filled the socket"
    return seen


def flood(path, seconds, each_second):
    """Keeps a socket of datagrams full for that time, and calls `each_second` once it is; answers how many
    it took."""
    sent, calls, begin = 0, 0, time.monotonic()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(path)
        sender.setblocking(False)
        while time.monotonic() < begin + seconds:
            try:
                sender.send(b"MESSAGE=the journal is kept busy\nPRIORITY=7\n")
                sent += 1
            except BlockingIOError:
                if time.monotonic() >= begin + calls:
                    each_second()
                    calls += 1
                time.sleep(0.001)
    check(calls == seconds, f"the socket took {sent} lines and was full for {calls} of {seconds} s")
    return sent
