"""What breaks under the daemon: the disk, the power."""

import json
import time

from machine import wait_for
from scenario import ASK, check, documents, equal, make_corpus, prop, scenario, status_of, wait_ready


@scenario("faults-disk-full", spoils=True)
def disk_full(machine, context):
    """The disk of the state folder is full: ingest says so, queries go on, space heals it."""
    machine.run("systemctl stop alfred.socket alfred.service")
    machine.run("mount -t tmpfs -o size=4m,mode=750,uid=alfred,gid=alfred tmpfs /var/lib/alfred")
    machine.run("systemctl start alfred")
    make_corpus(machine, "/srv/first", 5)
    machine.run("alfred ingest '/srv/first/*.md' --root /srv/first")
    machine.run("dd if=/dev/zero of=/var/lib/alfred/filler bs=64k 2>/dev/null", check=False)
    make_corpus(machine, "/srv/many", 20, words=150)
    refused = machine.run("alfred ingest '/srv/many/*.md' --root /srv/many", check=False, seconds=300)
    check(refused.returncode == 1, f"ingest on a full disk ended with {refused.returncode}")
    check("store cannot be written" in refused.stderr, f"ingest does not say what failed:\n{refused.stderr}")
    check("disk is full" in machine.out("journalctl --no-pager -u alfred"), "the journal does not say why")
    check(json.loads(machine.out(ASK))["citations"], "no citation while the disk is full")
    pid = prop(machine, "alfred.service", "MainPID")
    machine.run("rm /var/lib/alfred/filler")
    make_corpus(machine, "/srv/few", 2)
    machine.run("alfred ingest '/srv/few/*.md' --root /srv/few --collection default")
    machine.run("alfred store check")
    equal(prop(machine, "alfred.service", "MainPID"), pid, "the process")


@scenario("faults-power", spoils=True)
def power(machine, context):
    """Everything is killed during ingest: after the next boot the store is intact and complete again."""
    make_corpus(machine, "/srv/power", 300)
    ingest = machine.start("alfred ingest '/srv/power/*.md' --root /srv/power")
    try:
        wait_for("some documents are stored", lambda: documents(machine) >= 20, 60)
        machine.kill()
    finally:
        ingest.kill()
        ingest.communicate()
    machine.boot()
    wait_ready(machine)
    machine.run("alfred store check")
    kept = documents(machine)
    check(20 <= kept < 300, f"{kept} documents were kept")
    machine.run("alfred ingest '/srv/power/*.md' --root /srv/power", seconds=300)
    equal(documents(machine), 300, "documents after the same command")
    return f"{kept} of 300 documents were kept, the rest came with the same command"


@scenario("faults-boot")
def boot(machine, context):
    """A reboot: the daemon and its sockets come back by themselves."""
    machine.run("systemctl stop alfred.socket alfred.service")
    machine.kill()
    machine.boot()
    wait_ready(machine)
    time.sleep(0.5)
    equal(machine.out("systemctl --failed --no-legend"), "", "failed units")
    equal(status_of(machine), 200, "/readyz")
