"""Upgrade, removal, purge and installation again."""

import pathlib

from scenario import check, documents, equal, make_corpus, prop, repack, scenario, wait_ready
from watch import another_process, watched

RATE = 200


def install_previous(machine, context):
    """Installs the previous build: these packages under a lower version."""
    context.add_repository(machine)
    candidate = machine.out("apt-cache policy alfred | awk '/Candidate:/ {print $2}'")
    pool = pathlib.Path(context.repository)
    deb = next(path for path in pool.rglob("alfred_*.deb"))
    repack(deb, machine.folder / "previous.deb", candidate + "~previous")
    machine.file("/root/previous.deb").write_bytes((machine.folder / "previous.deb").read_bytes())
    machine.run("apt-get install -y -q /root/previous.deb")
    wait_ready(machine)
    return candidate


@scenario("upgrade-under-load", installed=False, spoils=True,
          row=f"A new package installed with apt under {RATE} requests/s")
def upgrade(machine, context):
    """An upgrade under 200 requests/s: none fails; edits of the configuration and data are kept."""
    candidate = install_previous(machine, context)
    make_corpus(machine, "/srv/up", 10)
    machine.run("alfred ingest '/srv/up/*.md' --root /srv/up")
    machine.append("/etc/alfred/alfred.toml", "# edited here\n")
    pid = prop(machine, "alfred.service", "MainPID")
    with watched(machine, RATE) as watch:
        watch.fault()
        machine.run("apt-get install -y -q alfred")
        another_process(machine, pid)
        watch.mended()
        seen = watch.end(2, says=["SIGTERM: finishing what runs", "alfred .* is ready"])
    equal(machine.out("dpkg-query -W -f '${Version}' alfred"), candidate, "version")
    check(documents(machine) >= 10 + seen.confirmed, "documents are gone")
    machine.run("grep -qx '# edited here' /etc/alfred/alfred.toml")
    return seen


@scenario("upgrade-stays-stopped", installed=False, spoils=True)
def stays_stopped(machine, context):
    """What was stopped or disabled stays so over an upgrade."""
    install_previous(machine, context)
    machine.run("systemctl disable --now alfred.socket alfred.service")
    machine.run("apt-get install -y -q alfred")
    equal(prop(machine, "alfred.service", "ActiveState"), "inactive", "the service is")
    equal(machine.out("systemctl is-enabled alfred.service", check=False), "disabled", "the service is")


@scenario("upgrade-remove-purge")
def remove_purge(machine, context):
    """Remove stops and keeps the state, installation again finds it, purge clears it."""
    make_corpus(machine, "/srv/rm", 5)
    machine.run("alfred ingest '/srv/rm/*.md' --root /srv/rm")
    machine.append("/etc/alfred/alfred.toml", "# edited here\n")
    machine.run("apt-get remove -y -q alfred")
    equal(machine.out("ss -Hlnt 'sport = :8080'"), "", "sockets left after remove")
    equal(machine.out("pgrep -x alfred", check=False), "", "processes left after remove")
    machine.run("test -e /var/lib/alfred/alfred.db && grep -q '# edited here' /etc/alfred/alfred.toml")
    machine.run("apt-get install -y -q alfred")
    wait_ready(machine)
    equal(documents(machine), 5, "documents after installing again")
    machine.run("apt-get purge -y -q alfred")
    left = machine.out("ls -d /var/lib/alfred /etc/alfred /run/alfred /etc/systemd/system/*/alfred* 2>/dev/null", check=False)
    equal(left, "", "left after purge")
    equal(machine.out("systemctl --failed --no-legend"), "", "failed units")
    machine.run("apt-get install -y -q alfred")
    wait_ready(machine)
    equal(documents(machine), 0, "documents after purge and installation")
