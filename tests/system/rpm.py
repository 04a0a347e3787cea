"""The .rpm packages: installed beside dpkg, and resolved from their repository by dnf."""

from scenario import Skip, check, equal, prop, scenario, status_of, wait_ready


# How what any Fedora has begins.
FEDORA = ("libc.", "libm.", "libgcc_s", "libpthread", "libdl", "ld-linux", "rtld", "systemd", "shadow",
          "ca-certificates", "/bin/sh", "/usr/bin/sh")


@scenario("rpm-install", installed=False, spoils=True)
def install(machine, context):
    """rpm --nodeps on the same system: units verify, the daemon starts, rpm -V is clean."""
    packages = machine.out("ls /srv/repository/rpm/*.rpm").split()
    check(len(packages) >= 2, f"packages: {packages}")
    machine.run("rpm --import /srv/repository/alfred.asc", check=False)
    wanted = " ".join(path for path in packages if "debug" not in path)
    machine.run(f"rpm -i --nodeps {wanted}")
    changed = machine.run("rpm -V --nodeps alfred alfred-model-minilm", check=False).stdout.strip()
    equal(changed, "", "rpm -V")
    said = machine.run("systemd-analyze verify --man=no alfred.service alfred.socket alfred-soak@nightly.timer"
                       " alfred-ingest@handbook.timer 2>&1").stdout.strip()
    equal(said, "", "systemd-analyze verify")
    machine.run("systemctl daemon-reload && systemctl enable --now alfred")
    wait_ready(machine)
    pid = prop(machine, "alfred.service", "MainPID")
    equal(machine.out(f"ps -o user:20= -p {pid}"), "alfred", "its user")
    machine.run("rpm -e --nodeps alfred")
    equal(machine.out("pgrep -x alfred", check=False), "", "processes left after rpm -e")


@scenario("rpm-dnf", installed=False, spoils=True)
def dnf(machine, context):
    """dnf finds alfred in the repository, checks its signature, and resolves its dependencies."""
    if machine.run("command -v dnf", check=False).returncode != 0:
        raise Skip("this Debian has no dnf")
    machine.run("mkdir -p /srv/fedora/etc/yum.repos.d && cp /srv/repository/alfred.repo /srv/fedora/etc/yum.repos.d/")
    options = ("--installroot=/srv/fedora --releasever=41 --setopt=reposdir=/srv/fedora/etc/yum.repos.d"
               " --setopt=install_weak_deps=False -y")
    listed = machine.out(f"dnf {options} repoquery --requires alfred 2>/dev/null")
    check("alfred-model-minilm" in listed, f"alfred requires: {listed}")
    # There is no Fedora to be had here: what alfred needs of it is said to be installed.
    needs = machine.out(f"dnf {options} install alfred 2>&1", check=False)
    if "nothing provides" in needs:
        missing = {line.split("nothing provides ")[1].split(" needed")[0].split("(")[0]
                   for line in needs.splitlines() if "nothing provides" in line}
        foreign = {name for name in missing if not name.startswith(FEDORA)}
        check(not foreign, f"what no Fedora provides: {foreign}\n{needs}")
        return "resolved but for " + ", ".join(sorted(missing)) + ", which no repository here has"
    machine.run("test -x /srv/fedora/usr/bin/alfred")
