"""Restarts and reloads under load, and configurations that are wrong."""

import json
import time

from scenario import (Load, all_answered, check, cursor, equal, make_corpus, prop, scenario, status_of,
                      wait_ready)
from watch import MOST_S, watched

SECONDS = 60
RATE = 200
RELOADS = 100
BROKEN_RELOADS = 10
# TriggerLimitIntervalSec= of alfred.socket: nobody mends a configuration faster.
TRIGGER_LIMIT_S = 5


def under_load(machine, events, seconds=SECONDS, rate=RATE):
    """Runs clients of three kinds while `events` happen, evenly spread over the time."""
    loads = [Load(machine, seconds, rate / 2, keep_alive=True),
             Load(machine, seconds, rate / 4, keep_alive=False),
             Load(machine, seconds, rate / 4, keep_alive=True, unix=True)]
    begin = time.monotonic()
    try:
        for number, event in enumerate(events):
            due = begin + (number + 1) * seconds / (len(events) + 1)
            time.sleep(max(0, due - time.monotonic()))
            event()
        results = [load.result() for load in loads]
    finally:
        for load in loads:
            load.stop()
    return all_answered(results, int(seconds * rate) - 3)


@scenario("restart-under-load")
def restart_under_load(machine, context):
    """200 requests/s for 60 s over 5 restarts and 20 reloads: none fails, none is refused."""
    make_corpus(machine, "/srv/load", 50)
    machine.run("alfred ingest '/srv/load/*.md' --root /srv/load")

    def reload():
        machine.write("/etc/alfred/conf.d/50-load.toml", f"[server]\nmax_waiting = {256 + reload.count}\n")
        reload.count += 1
        machine.run("systemctl reload alfred")

    reload.count = 0

    def restart():
        machine.run("systemctl restart alfred")

    events = [restart if number % 5 == 2 else reload for number in range(25)]
    try:
        words = under_load(machine, events)
    finally:
        machine.remove("/etc/alfred/conf.d/50-load.toml")
    equal(prop(machine, "alfred.service", "NRestarts"), "0", "restarts that nobody asked for")
    return words


@scenario("restart-long", long=True)
def restart_long(machine, context):
    """400 requests/s for 210 s over 20 restarts: none of 84,000 fails, none is refused."""
    return under_load(machine, [lambda: machine.run("systemctl restart alfred")] * 20, 210, 400)


@scenario("restart-reloads", row=f"{RELOADS} reloads under {RATE} requests/s, each with a change")
def reloads(machine, context):
    """100 reloads under 200 requests/s: no request fails, and each change is in force."""
    place, pid = "/etc/alfred/conf.d/50-reloads.toml", prop(machine, "alfred.service", "MainPID")
    try:
        with watched(machine, RATE) as watch:
            watch.fault()
            machine.run(f"for number in $(seq {RELOADS}); do printf '[server]\\nmax_waiting = %d\\n' $((1000 + number))"
                        f" >{place}; systemctl reload alfred || exit 1; done", seconds=MOST_S)
            watch.mended()
            shown = machine.out("journalctl --sync; journalctl --no-pager -o cat -u alfred"
                                f" --after-cursor='{watch.mark}' | grep -c '^the configuration was reloaded'")
            seen = watch.end(1, says=["the configuration was reloaded.*"])
    finally:
        machine.remove(place)
        machine.run("systemctl reload alfred")
    equal(int(shown), RELOADS, "reloads in the journal")
    equal(prop(machine, "alfred.service", "MainPID"), pid, "the process")
    return seen


@scenario("restart-broken-reload", row=f"{BROKEN_RELOADS} reloads of a broken configuration under {RATE} requests/s")
def broken_reload(machine, context):
    """A reload of a broken configuration under load: it fails with the reason, and the old one serves."""
    wrong, pid = "/etc/alfred/conf.d/50-broken.toml", prop(machine, "alfred.service", "MainPID")
    machine.write("/etc/alfred/conf.d/40-sound.toml", "[server]\nmax_waiting = 333\n")
    machine.run("systemctl reload alfred")
    try:
        with watched(machine, RATE) as watch:
            watch.fault()
            for _ in range(BROKEN_RELOADS):
                machine.write(wrong, "[server]\nmax_waiting = \"many\"\n")
                refused = machine.run("systemctl reload alfred", check=False)
                check(refused.returncode != 0, "the reload of a wrong configuration did not fail")
            watch.mended()
            status = machine.out("curl -sf --unix-socket /run/alfred/alfred.sock http://localhost/v1/status")
            check("max_waiting" in json.dumps(json.loads(status)["reload"]), f"the status does not give the reason: {status}")
            seen = watch.end(1, says=[".*max_waiting.*"])
        machine.remove(wrong)
        done = machine.out(f"systemctl reload alfred; journalctl --sync; journalctl --no-pager -o cat -u alfred --after-cursor='{watch.mark}' | tail -3")
        # Nothing changed since the one before the broken ones, so that one is in force.
        check("max_waiting" not in done.splitlines()[-1], f"another configuration was in force:\n{done}")
    finally:
        machine.remove(wrong, "/etc/alfred/conf.d/40-sound.toml")
        machine.run("systemctl reload alfred")
    equal(prop(machine, "alfred.service", "MainPID"), pid, "the process")
    return seen


@scenario("restart-broken-configuration")
def broken(machine, context):
    """A wrong configuration: reload fails, the old one serves, a restart ends with 78, no loop."""
    wrong = "/etc/alfred/conf.d/50-broken.toml"
    machine.write(wrong, "[server]\nmax_in_flight = \"many\"\n")
    pid = prop(machine, "alfred.service", "MainPID")
    refused = machine.run("systemctl reload alfred", check=False)
    check(refused.returncode != 0, "the reload of a wrong configuration did not fail")
    status = machine.out("systemctl status --no-pager --full alfred")
    check("max_in_flight" in status, f"systemctl status does not give the reason:\n{status}")
    equal(status_of(machine), 200, "/readyz after the refused reload")
    equal(prop(machine, "alfred.service", "MainPID"), pid, "the process")
    mark = cursor(machine)
    again = machine.run("systemctl restart alfred", check=False)
    check(again.returncode != 0, "the restart with a wrong configuration did not fail")
    equal(prop(machine, "alfred.service", "ExecMainStatus"), "78", "exit status")
    time.sleep(4)
    equal(prop(machine, "alfred.service", "ActiveState"), "failed", "four seconds later it is")
    equal(prop(machine, "alfred.service", "NRestarts"), "0", "restarts")
    # A client that asks meanwhile may start it again, but not for ever.
    machine.run("curl -s -m 4 http://127.0.0.1:8080/healthz", check=False)
    starts = machine.out(f"journalctl --no-pager --after-cursor='{mark}' -u alfred | grep -c 'Starting alfred.service'")
    check(int(starts) <= 25, f"started {starts} times")
    machine.remove(wrong)
    time.sleep(TRIGGER_LIMIT_S)
    machine.run("systemctl restart alfred")
    wait_ready(machine)
    machine.run("alfred status")
    equal(prop(machine, "alfred.socket", "ActiveState"), "active", "after mending, the socket is")
    return f"a waiting client made {int(starts) - 1} more starts before the socket closed"


@scenario("restart-notify-reload")
def notify_reload(machine, context):
    """The example notify-reload.conf: systemctl reload waits for the daemon itself (systemd 253)."""
    from scenario import Skip, drop_in
    version = int(machine.out("systemctl --version").split()[1])
    if version < 253:
        raise Skip(f"systemd {version} has no Type=notify-reload")
    example = machine.out("cat /usr/share/doc/alfred/examples/notify-reload.conf")
    with drop_in(machine, "notify-reload.conf", example):
        wait_ready(machine)
        pid = prop(machine, "alfred.service", "MainPID")
        for _ in range(3):
            machine.run("systemctl reload alfred", seconds=20)
        equal(prop(machine, "alfred.service", "MainPID"), pid, "the process")
        equal(status_of(machine), 200, "/readyz")
    wait_ready(machine)
