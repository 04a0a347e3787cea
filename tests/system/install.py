"""What is there after "apt install alfred", and what the first commands do."""

import json
import re
import shutil
import time

from machine import CACHE
from scenario import (ASK, UPDATE, check, documents, drop_in, equal, make_corpus, prop, reset,
                      scenario, status_of, wait_ready)

EXPOSURE_LIMITS = {"alfred.service": 1.1, "alfred-soak@nightly.service": 1.3,
                   "alfred-ingest@handbook.service": 1.2}
CONFINED_LIMIT = 0.4
MANY = 10_000
# After it the allocator has given back what only the start needed.
IDLE_S = 8


@scenario("install-three-commands", installed=False, spoils=True)
def three_commands(machine, context):
    """From a plain Debian to the first answer: add the repository, install, ask."""
    begin = time.monotonic()
    machine.run("install -m 644 /srv/repository/alfred.sources /etc/apt/sources.list.d/")
    machine.run(UPDATE)
    # From here on the three commands that are counted.
    machine.run("apt-get install -y -q alfred")
    machine.run("alfred ingest '/usr/share/alfred/manual/*.md' --root /usr/share/alfred/manual", seconds=300)
    answer = json.loads(machine.out(ASK))
    check(answer["citations"], "the first query was answered without a citation")
    return f"install, ingest, query: answered {time.monotonic() - begin:.0f} s after the repository was added"


@scenario("install-picks-ours", installed=False, spoils=True)
def picks_ours(machine, context):
    """apt takes this alfred though Debian's own is a candidate."""
    policy = machine.out("apt-cache policy alfred")
    check("deb.debian.org" in policy, f"Debian's alfred is no candidate here:\n{policy}")
    context.add_repository(machine)
    candidate = re.search(r"Candidate: (\S+)", machine.out("apt-cache policy alfred"))[1]
    check(candidate.startswith("1:"), f"the candidate is {candidate}")
    machine.run("apt-get install -y -q alfred")
    check("citations" in machine.out("alfred --help"), "another alfred was installed")
    origin = machine.out("apt-cache policy alfred")
    return f"{candidate} before {re.search(r' (20[0-9.]+-[0-9]+)', origin)[1]}"


@scenario("install-ready")
def ready(machine, context):
    """Running, ready, enabled, the right user, its folders, nothing open beyond loopback."""
    equal(prop(machine, "alfred.service", "ActiveState"), "active", "alfred.service is")
    equal(prop(machine, "alfred.service", "Type"), "notify", "its type is")
    for unit in ("alfred.service", "alfred.socket"):
        equal(machine.out(f"systemctl is-enabled {unit}"), "enabled", f"{unit} is")
    for unit in ("alfred-soak@nightly.timer", "alfred-ingest@handbook.timer"):
        equal(machine.out(f"systemctl is-enabled {unit}", check=False), "disabled", f"{unit} is")
    pid = prop(machine, "alfred.service", "MainPID")
    equal(machine.out(f"ps -o user:20=,group:20= -p {pid}").split(), ["alfred", "alfred"], "user and group")
    equal(machine.out("stat -c '%U %G %a' /var/lib/alfred"), "alfred alfred 750", "the state folder")
    equal(machine.out("stat -c '%G %a' /run/alfred/alfred.sock"), "alfred 660", "the socket")
    equal(machine.out("stat -c '%U %a' /etc/alfred/alfred.toml"), "root 644", "the configuration")
    open_ports = machine.out("ss -Hlntu")
    for line in open_ports.splitlines():
        address = line.split()[4]
        check(address.startswith(("127.", "[::1]")), f"open beyond loopback: {line}")
    check("127.0.0.1:8080" in open_ports, f"nothing listens on port 8080:\n{open_ports}")
    check(prop(machine, "alfred.service", "StatusText"), "the daemon says nothing in STATUS=")
    failed = machine.out("systemctl --failed --no-legend")
    check(not failed, f"failed units: {failed}")
    return prop(machine, "alfred.service", "StatusText")


@scenario("install-ingest-and-query")
def ingest_and_query(machine, context):
    """Ingest as root and as a member of the group, served by the running daemon; others may not."""
    make_corpus(machine, "/srv/root", 5)
    machine.run("useradd -m member && usermod -aG alfred member && useradd -m stranger")
    make_corpus(machine, "/home/member/notes", 5)
    machine.run("chown -R member: /home/member")
    machine.run("alfred ingest '/srv/root/*.md' --root /srv/root")
    machine.run("cd /home/member && alfred ingest 'notes/*.md'", user="member")
    equal(documents(machine), 10, "documents")
    foreign = machine.out("find /var/lib/alfred ! -user alfred")
    check(not foreign, f"files in the state folder that are not the daemon's: {foreign}")
    check(json.loads(machine.out(ASK, user="member"))["citations"], "no citation for a member of the group")
    asked = machine.run("curl -s -m 5 --unix-socket /run/alfred/alfred.sock http://alfred/v1/status",
                        user="stranger", check=False)
    check(asked.returncode != 0, "a user outside the group reached the socket")
    machine.run("curl -sf -m 5 --unix-socket /run/alfred/alfred.sock http://alfred/v1/status", user="member")


@scenario("install-units-verify")
def units_verify(machine, context):
    """systemd-analyze has nothing to say of the units, and their exposure is within its limits."""
    units = machine.out("ls /usr/lib/systemd/system/ | grep '^alfred'").split()
    names = " ".join(unit.replace("@.", "@nightly.") for unit in units)
    # Images without manual pages have no command "man": whether the pages are there is the
    # packages' test.
    said = machine.run(f"systemd-analyze verify --man=no {names} 2>&1").stdout.strip()
    check(not said, f"systemd-analyze verify: {said}")
    found = []
    for unit, limit in EXPOSURE_LIMITS.items():
        value = exposure(machine, unit)
        check(value <= limit, f"the exposure of {unit} is {value}, the limit {limit}")
        found.append(f"{unit.split('.')[0]} {value}")
    return "exposure " + ", ".join(found)


def exposure(machine, unit):
    """The overall exposure of a unit as it is loaded."""
    text = machine.out(f"systemd-analyze security --no-pager {unit} | tail -1")
    return float(re.search(r"([0-9.]+) [A-Z]", text)[1])


@scenario("install-confined")
def confined(machine, context):
    """The shipped drop-in confined.conf: no network for the daemon, everything works."""
    example = machine.out("cat /usr/share/doc/alfred/examples/confined.conf")
    make_corpus(machine, "/srv/confined", 3)
    with drop_in(machine, "confined.conf", example):
        wait_ready(machine)
        value = exposure(machine, "alfred.service")
        check(value <= CONFINED_LIMIT, f"the exposure is {value}, the limit {CONFINED_LIMIT}")
        pid = prop(machine, "alfred.service", "MainPID")
        links = machine.out(f"nsenter -t {pid} -n ip -br link")
        equal(len(links.splitlines()), 1, "network interfaces of the daemon")
        machine.run("alfred ingest '/srv/confined/*.md' --root /srv/confined --collection confined")
        machine.run("alfred query --json 'Upgrade step 2' --collection confined")
        equal(machine.out("curl -s -o /dev/null -w '%{http_code}' -H 'content-type: application/json'"
                          " -d '{\"query\": \"upgrade step\", \"collection\": \"confined\"}'"
                          " http://127.0.0.1:8080/v1/query"), "200", "a query over TCP")
        machine.run("systemctl reload alfred")
        equal(status_of(machine), 200, "/readyz after a reload")
    wait_ready(machine)
    return f"exposure {value}"


@scenario("install-without-sockets")
def without_sockets(machine, context):
    """Without alfred.socket the daemon binds its own sockets, and stopping it closes them."""
    machine.run("systemctl mask --now alfred.socket && systemctl restart alfred")
    try:
        wait_ready(machine)
        owner = machine.out("ss -Hlntp 'sport = :8080'")
        check("alfred" in owner and "systemd" not in owner, f"the socket belongs to another: {owner}")
        machine.run("alfred status")
        machine.run("systemctl stop alfred")
        equal(machine.out("ss -Hlnt 'sport = :8080'"), "", "sockets left after the stop")
    finally:
        machine.run("systemctl stop alfred; systemctl unmask alfred.socket; systemctl daemon-reload")
        reset(machine)
    equal(machine.out("stat -c '%G %a' /run/alfred/alfred.sock"), "alfred 660", "the socket afterwards")


def many_documents(machine):
    """Fills the store with MANY documents, once: the file is kept for later runs."""
    kept = CACHE / f"store-{MANY}.db"
    if kept.exists():
        machine.run("systemctl stop alfred.socket alfred.service; rm -f /var/lib/alfred/alfred.db*")
        shutil.copy(kept, machine.file("/var/lib/alfred/alfred.db"))
        machine.run("chown alfred: /var/lib/alfred/alfred.db && systemctl start alfred")
        if documents(machine) == MANY:
            return MANY
    machine.run("systemctl stop alfred.socket alfred.service; rm -f /var/lib/alfred/alfred.db*; systemctl start alfred")
    make_corpus(machine, "/srv/many", MANY, words=4)
    machine.run("alfred ingest '/srv/many/*.md' --root /srv/many", seconds=900)
    equal(documents(machine), MANY, "documents")
    machine.run("systemctl stop alfred.socket alfred.service")
    shutil.copy(machine.file("/var/lib/alfred/alfred.db"), kept.with_suffix(".partial"))
    kept.with_suffix(".partial").rename(kept)
    machine.run("systemctl start alfred")
    return MANY


@scenario("install-start-and-stop")
def start_and_stop(machine, context):
    """With 10,000 documents: ready in < 1 s, stopped in < 1 s when idle; memory and package size."""
    have = many_documents(machine)
    starts, stops = [], []
    for _ in range(5):
        begin = time.monotonic()
        machine.run("systemctl stop alfred.socket alfred.service")
        stops.append(time.monotonic() - begin)
        begin = time.monotonic()
        machine.run("systemctl start alfred.service")
        starts.append(time.monotonic() - begin)
        equal(status_of(machine), 200, "/readyz as soon as systemctl came back")
    check(max(stops) < 1, f"a stop took {max(stops):.2f} s")
    check(sorted(starts)[2] < 1, f"starts took {starts}")
    pid = prop(machine, "alfred.service", "MainPID")
    time.sleep(IDLE_S)
    resident = int(machine.out(f"awk '/^VmRSS/ {{print $2}}' /proc/{pid}/status")) / 1024
    size = int(machine.out("dpkg-query -W -f '${Installed-Size}' alfred")) / 1024
    return (f"{have} documents: start {sorted(starts)[2]:.2f} s, stop {max(stops):.2f} s, resident"
            f" {resident:.0f} MiB, installed {size:.0f} MiB")
