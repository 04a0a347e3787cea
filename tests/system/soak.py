"""alfred-soak@.service and its timer."""

import json
import time

from machine import wait_for
from scenario import check, cursor, equal, journal, message_id, prop, scenario

UNIT = "alfred-soak@short.service"
SCENARIO = """name = "short"
target = "http://127.0.0.1:8080/v1/query"
queries = "/usr/share/alfred/queryset.txt"
qps = 20
duration = "{duration}"
window = "1s"
thresholds = ["{threshold}"]
"""


def write(machine, threshold, duration="3s"):
    """Writes the scenario file."""
    machine.write("/etc/alfred/soak.d/short.toml", SCENARIO.format(threshold=threshold, duration=duration))


def verdict(machine):
    """The verdict of the latest run, and its folder."""
    folder = machine.out("ls -d /var/lib/alfred/soak/*-short-* | tail -1")
    return json.loads(machine.out(f"cat {folder}/verdict.json"))["verdict"], folder


def ended(machine):
    """Waits until the unit ran and failed; answers its exit status. One that ended well is forgotten
    by systemd, so that there is nothing to ask."""
    wait_for("the run fails", lambda: prop(machine, UNIT, "ActiveState") == "failed", 40)
    return int(prop(machine, UNIT, "ExecMainStatus"))


@scenario("soak-pass")
def passes(machine, context):
    """A run: its folder, verdict and journal record; the unit ends well, behind the daemon in priority."""
    mark = cursor(machine)
    write(machine, "error_rate<1%")
    run = machine.start(f"systemctl start --wait {UNIT}")
    pid = wait_for("the run begins", lambda: int(prop(machine, UNIT, "MainPID")))
    nice = machine.out(f"ps -o ni= -p {pid}")
    check(int(nice) > 0, f"its nice value is {nice}")
    equal(run.wait(40), 0, "exit status of systemctl start --wait")
    run.communicate()
    result, folder = verdict(machine)
    equal(result, "PASS", "verdict")
    equal(machine.out(f"stat -c %U {folder}"), "alfred", "owner of the run folder")
    # The daemon's sandbox lets the console list it and show its report.
    name = folder.rsplit("/", 1)[1]
    listed = json.loads(machine.out("curl -sf 'http://127.0.0.1:8080/v1/runs?limit=1'"))["runs"]
    equal([(run["run"], run["verdict"]) for run in listed], [(name, "PASS")], "the newest run over HTTP")
    shown = machine.out(f"curl -sf http://127.0.0.1:8080/v1/runs/{name}/report.html | grep -c '<strong>PASS</strong>'")
    equal(shown, "1", "pages of the report with the verdict")
    machine.run("journalctl --sync")
    entry = journal(machine, mark, f"MESSAGE_ID={message_id('The soak')}")
    equal([line["ALFRED_VERDICT"] for line in entry], ["PASS"], "verdicts in the journal")
    return folder.rsplit("/", 1)[1]


@scenario("soak-timer")
def timer(machine, context):
    """The timer fires (shortened by drop-in); a FAIL shows in systemctl --failed and restarts nothing."""
    write(machine, "p95<1us", "2s")
    machine.write("/etc/systemd/system/alfred-soak@.timer.d/soon.conf",
                  "[Timer]\nOnCalendar=\nOnActiveSec=1s\nRandomizedDelaySec=0\nAccuracySec=100ms\n")
    try:
        machine.run("systemctl daemon-reload && systemctl enable --now alfred-soak@short.timer")
        equal(ended(machine), 99, "exit status")
        check(UNIT in machine.out("systemctl --failed --no-legend"), "it is not among the failed units")
        equal(verdict(machine)[0], "FAIL", "verdict")
        time.sleep(2)
        equal(prop(machine, UNIT, "NRestarts"), "0", "restarts")
        equal(prop(machine, "alfred-soak@nightly.timer", "Persistent"), "yes", "the timer is persistent")
    finally:
        machine.run("systemctl disable --now alfred-soak@short.timer; rm -r /etc/systemd/system/alfred-soak@.timer.d;"
                    " systemctl daemon-reload; systemctl reset-failed", check=False)


@scenario("soak-watchdog")
def watchdog(machine, context):
    """A run that closes no window any more is ended by the watchdog and started again."""
    write(machine, "error_rate<1%", "60s")
    machine.write(f"/etc/systemd/system/{UNIT}.d/soon.conf", "[Service]\nWatchdogSec=4s\nRestartSec=100ms\n")
    try:
        machine.run(f"systemctl daemon-reload && systemctl start {UNIT}")
        time.sleep(6)
        equal(prop(machine, UNIT, "NRestarts"), "0", "restarts while windows close")
        pid = prop(machine, UNIT, "MainPID")
        machine.run(f"kill -STOP {pid}")
        wait_for("another process", lambda: prop(machine, UNIT, "MainPID") not in (pid, "0"), 30)
        machine.run(f"systemctl stop {UNIT}", seconds=60)
    finally:
        machine.run(f"rm -r '/etc/systemd/system/{UNIT}.d'; systemctl daemon-reload; systemctl reset-failed", check=False)


@scenario("soak-notifies")
def notifies(machine, context):
    """The example onfailure.conf: a unit that fails starts alfred-notify@, which mails."""
    machine.write("/usr/sbin/sendmail", "#!/bin/sh\ncat >/run/mail\n", 0o755)
    examples = "/usr/share/doc/alfred/examples"
    machine.run(f"install -D -m 644 {examples}/onfailure.conf /etc/systemd/system/alfred-soak@.service.d/onfailure.conf"
                f" && cp {examples}/alfred-notify@.service /etc/systemd/system/ && systemctl daemon-reload")
    write(machine, "p95<1us", "1s")
    try:
        machine.run(f"systemctl start {UNIT}")
        equal(ended(machine), 99, "exit status")
        mail = wait_for("the mail", lambda: machine.out("cat /run/mail", check=False))
        check(f"Subject: {UNIT} failed" in mail, f"the mail says: {mail}")
    finally:
        machine.run("rm -rf /usr/sbin/sendmail /etc/systemd/system/alfred-notify@.service"
                    " /etc/systemd/system/alfred-soak@.service.d; systemctl daemon-reload; systemctl reset-failed")


def events(machine, folder):
    """The events of a run."""
    return [json.loads(line) for line in machine.out(f"cat {folder}/events.jsonl").splitlines()]


def long_enough(machine, duration):
    """A scenario of windows of 1 s, beside which the daemon is sampled."""
    write(machine, "error_rate<1%", duration)
    machine.append("/etc/alfred/soak.d/short.toml", 'unit = "alfred.service"\n')


def recorded(machine, count):
    """Waits until the latest run has so many windows; answers its folder."""
    folder = "$(ls -d /var/lib/alfred/soak/*-short-* | tail -1)"
    wait_for(f"{count} windows", lambda: int(machine.out(f"cat {folder}/windows.jsonl | wc -l", check=False) or 0) >= count)
    return machine.out(f"echo {folder}")


@scenario("soak-killed")
def killed(machine, context):
    """kill -9: systemd starts it again, the same run goes on and is judged; the daemon was sampled."""
    machine.run("rm -rf /var/lib/alfred/soak/*-short-*")
    long_enough(machine, "20s")
    machine.write(f"/etc/systemd/system/{UNIT}.d/soon.conf", "[Service]\nRestartSec=100ms\n")
    try:
        machine.run(f"systemctl daemon-reload && systemctl start {UNIT}")
        folder = recorded(machine, 3)
        machine.run(f"systemctl kill -s KILL {UNIT}")
        wait_for("another start", lambda: prop(machine, UNIT, "NRestarts") == "1")
        machine.run("systemctl restart alfred.service")
        wait_for("the run ends", lambda: prop(machine, UNIT, "ActiveState") in ("inactive", "failed"), 60)
    finally:
        machine.run(f"rm -r '/etc/systemd/system/{UNIT}.d'; systemctl daemon-reload; systemctl reset-failed", check=False)
    equal(machine.out("ls -d /var/lib/alfred/soak/*-short-*"), folder, "runs")
    result, _ = verdict(machine)
    equal(result, "INVALID", "verdict of 20 s that miss one")
    seen = [event["event"] for event in events(machine, folder)]
    check("gap" in seen and "unit_restarted" in seen, f"events: {seen}")
    windows = [json.loads(line) for line in machine.out(f"cat {folder}/windows.jsonl").splitlines()]
    sampled = [window["unit"] for window in windows if "unit" in window]
    check(len(sampled) > len(windows) / 2, f"{len(sampled)} of {len(windows)} windows were sampled")
    for field in ("rss_bytes", "anon_bytes", "threads", "cpu_s", "restarts", "journal_errors"):
        check(any(field in unit for unit in sampled), f"{field} was never sampled: {sampled[-1]}")
    return f"{len(windows)} windows, {sorted(sampled[-1])}"


@scenario("soak-reboot", spoils=True)
def rebooted(machine, context):
    """A reboot in the middle of a run: it goes on by itself at boot, and is judged."""
    machine.run("rm -rf /var/lib/alfred/soak/*-short-*")
    long_enough(machine, "60s")
    machine.run(f"systemctl start {UNIT}")
    folder = recorded(machine, 3)
    machine.shut_down()
    machine.boot()
    check(machine.out(f"ls {folder}").split().count("verdict.json") == 0, "it was judged when the machine went down")
    before = int(machine.out(f"cat {folder}/windows.jsonl | wc -l"))
    wait_for("it goes on", lambda: int(machine.out(f"cat {folder}/windows.jsonl | wc -l")) > before, 30)
    equal(prop(machine, "alfred-soak-resume.service", "ActiveState"), "active", "alfred-soak-resume.service")
    wait_for("its verdict", lambda: "verdict.json" in machine.out(f"ls {folder}"), 70)
    equal(machine.out("ls -d /var/lib/alfred/soak/*-short-*"), folder, "runs")
    gap = [event for event in events(machine, folder) if event["event"] == "gap"]
    equal(len(gap), 1, "gaps")
    return f"gap {gap[0]['from_s']} to {gap[0]['to_s']} s"
