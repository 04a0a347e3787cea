"""What ends the daemon's process, or takes its memory, and what clients see of it."""

import contextlib
import subprocess
import sys
import time

from machine import CGROUPS, Failed, host_pid, wait_for
from scenario import Skip, check, equal, make_corpus, prop, reset, scenario, wait_ready
from watch import BROKEN, another_process, watched

# RestartSec= of the unit is 1 s, a start some 0.3 s; the rest is for a busy host.
BACK_S = 5
STORM = 10
GATE = "/run/alfred/go"
MIB = 1 << 20
HOG = """
import os, sys, time
open("/proc/self/oom_score_adj", "w").write("-1000")
open(sys.argv[1] + "/cgroup.procs", "w").write(str(os.getpid()))
held = []
for _ in range(int(sys.argv[2])):
    held.append(b"x" * (1 << 20))
    time.sleep(0.005)
time.sleep(60)
"""


def main_pid(machine):
    """The main process of the daemon, as the container numbers it."""
    return prop(machine, "alfred.service", "MainPID")


def restarts(machine):
    """How often systemd has restarted the daemon by itself."""
    return int(prop(machine, "alfred.service", "NRestarts"))


def ended(machine, signal, says):
    """Ends the process with a signal under load: only what ran is lost, the rest waits for the next."""
    pid, before = main_pid(machine), restarts(machine)
    with watched(machine) as watch:
        watch.fault()
        machine.run(f"kill -{signal} {pid}")
        another_process(machine, pid)
        wait_ready(machine)
        seen = watch.end(BACK_S, may=BROKEN, until_s=1, says=[says, "alfred .* is ready"])
    equal(restarts(machine), before + 1, "restarts")
    reset(machine)
    return seen


@scenario("process-killed", row="Killed (SIGKILL)")
def killed(machine, context):
    """SIGKILL under load: requests that run are cut off, all others wait for the next process."""
    return ended(machine, "KILL", r"Main process exited, code=killed, status=9/KILL")


@scenario("process-aborted", row="Aborted (SIGABRT)")
def aborted(machine, context):
    """SIGABRT under load, as after a defect: the same."""
    return ended(machine, "ABRT", r"Main process exited, code=(killed|dumped), status=6/ABRT")


@scenario("process-storm", row=f"Killed {STORM} times, each time as soon as it is started again")
def storm(machine, context):
    """A storm of crashes: systemd never gives up, and what waits in the sockets is answered after it."""
    with watched(machine, 50) as watch:
        watch.fault()
        for _ in range(STORM):
            pid = main_pid(machine)
            if pid == "0":
                pid = another_process(machine, "0")
            machine.run(f"kill -9 {pid}", check=False)
            another_process(machine, pid)
        watch.mended()
        wait_ready(machine)
        seen = watch.end(BACK_S, may=BROKEN,
                         says=[r"Main process exited, code=killed, status=9/KILL", rf"restart counter is at {STORM}"])
    said = machine.out(f"journalctl --no-pager --after-cursor='{watch.mark}' -u alfred")
    check("repeated too quickly" not in said, "systemd gave up")
    check(restarts(machine) >= STORM, f"only {restarts(machine)} restarts")
    equal(prop(machine, "alfred.socket", "ActiveState"), "active", "the socket is")
    reset(machine)
    return seen


class Group:
    """The control group of the daemon, from outside, in either version."""

    def __init__(self, machine, folder, is_v2):
        self.machine, self.folder, self.is_v2 = machine, folder, is_v2

    def used_bytes(self):
        """What is charged to it: memory of processes and what files they read."""
        name = "memory.current" if self.is_v2 else "memory.usage_in_bytes"
        return int((self.folder / name).read_text())

    def limit(self, most_bytes):
        """The most that may be charged to it."""
        if self.is_v2:
            self.machine.run(f"systemctl set-property --runtime alfred.service MemoryMax={most_bytes}")
            return
        (self.folder / "memory.limit_in_bytes").write_text(str(most_bytes))

    def kills(self):
        """How many processes the kernel ended for want of memory."""
        name = "memory.events" if self.is_v2 else "memory.oom_control"
        words = dict(line.split() for line in (self.folder / name).read_text().splitlines())
        return int(words["oom_kill"])


@contextlib.contextmanager
def group(machine):
    """The daemon started in a control group whose memory can be limited. With cgroup v2 it is the unit's
    own. With v1 the container's systemd has none, and the process is put into one from outside."""
    if (CGROUPS / "cgroup.controllers").exists():
        machine.run("systemctl restart alfred")
        wait_ready(machine)
        with open(f"/proc/{host_pid(machine, main_pid(machine))}/cgroup", encoding="utf-8") as file:
            folder = CGROUPS / file.read().strip().split("::", 1)[1].lstrip("/")
        if not (folder / "memory.max").exists():
            raise Skip("the container has no memory controller")
        yield Group(machine, folder, True)
        machine.run("rm -rf /run/systemd/system.control/alfred.service.d")
        reset(machine)
        return
    # A new one each time, with its own counts.
    folder = CGROUPS / "memory" / machine.name / f"daemon-{time.monotonic_ns()}"
    try:
        folder.mkdir()
    except OSError:
        raise Skip("there is no memory controller") from None
    # It waits at the gate, so that all of its memory is charged to the group.
    machine.remove(GATE)
    machine.write("/etc/systemd/system/alfred.service.d/gate.conf",
                  "[Service]\nExecStart=\nExecStart=/bin/sh -c"
                  f" 'until [ -e {GATE} ]; do sleep 0.05; done; exec /usr/bin/alfred serve'\n")
    pid = main_pid(machine)
    machine.run("systemctl daemon-reload; systemctl restart --no-block alfred")
    pid = another_process(machine, pid)
    (folder / "cgroup.procs").write_text(str(host_pid(machine, pid)))
    machine.run(f"touch {GATE}")
    wait_ready(machine)
    yield Group(machine, folder, False)
    reset(machine)


@scenario("process-out-of-memory", row="Out of memory: ended by the kernel's OOM killer")
def out_of_memory(machine, context):
    """The kernel ends the daemon for want of memory: as after SIGKILL."""
    with group(machine) as memory:
        pid = main_pid(machine)
        with watched(machine) as watch:
            most = memory.used_bytes() + 16 * MIB
            memory.limit(most)
            # Another process of the group takes what is left, and the kernel may not choose that one.
            hog = subprocess.Popen([sys.executable, "-c", HOG, str(memory.folder), "48"])
            try:
                watch.fault()
                wait_for("the kernel ends a process", memory.kills, 20)
                watch.mended()
                another_process(machine, pid)
            finally:
                hog.kill()
                hog.wait()
            if memory.is_v2:
                memory.limit("infinity")
            wait_ready(machine)
            seen = watch.end(BACK_S, may=BROKEN, until_s=3,
                             says=[r"Main process exited, code=killed, status=9/KILL|.*OOM killer.*", "alfred .* is ready"])
    return seen


@scenario("process-memory-limit", row="A memory limit (`MemoryMax=`) of 1.2 times what it uses under this load")
def memory_limit(machine, context):
    """A memory limit of 1.2 times normal use: nothing is ended and nothing fails, ingest included."""
    make_corpus(machine, "/srv/memory", 100)
    machine.run("alfred ingest '/srv/memory/*.md' --root /srv/memory")
    with group(machine) as memory:
        pid = main_pid(machine)
        with watched(machine, 50, warm_s=6) as watch:
            normal = memory.used_bytes()
            memory.limit(int(normal * 1.2))
            watch.fault()
            make_corpus(machine, "/srv/more", 100)
            machine.run("alfred ingest '/srv/more/*.md' --root /srv/more")
            wait_for("the load goes on", lambda: watch.age_s() > 8)
            watch.mended()
            seen = watch.end(1)
            used = memory.used_bytes()
        equal(memory.kills(), 0, "processes that the kernel ended")
        equal(main_pid(machine), pid, "the process")
        if used > normal * 1.2:
            raise Failed(f"the limit holds nothing: {used} bytes")
    seen.note = f"normal {normal // MIB} MiB, at the end {used // MIB} MiB"
    return seen
