"""A daemon that no longer answers is ended by systemd's watchdog and started again."""

import contextlib
import ctypes
import os
import pathlib
import signal
import time

from machine import host_pid, named, wait_for
from scenario import ASK, Skip, check, cursor, drop_in, equal, prop, scenario, wait_ready
from watch import BROKEN, another_process, watched

LIMIT_S = 4
PTRACE_CONT, PTRACE_SEIZE, PTRACE_INTERRUPT = 7, 0x4206, 0x4207
PTRACE_O_TRACECLONE, WALL = 8, 0x40000000
RUNTIME = "tokio-"


def threads(pid):
    """Thread ids and names of a process."""
    return {int(task.name): (task / "comm").read_text().strip()
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir()}


def computed_s(pid):
    """Seconds of processor time that a process has used."""
    return sum(int((task / "schedstat").read_text().split()[0])
               for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9


def trace(libc, held, parents):
    """Holds the threads `held`, and every thread that `parents` start meanwhile. Never comes back."""
    for tid in held:
        if libc.ptrace(PTRACE_SEIZE, tid, None, None) != 0:
            os._exit(1)
        libc.ptrace(PTRACE_INTERRUPT, tid, None, None)
    for tid in parents:
        if libc.ptrace(PTRACE_SEIZE, tid, None, PTRACE_O_TRACECLONE) != 0:
            os._exit(1)
    while True:
        try:
            tid, status = os.waitpid(-1, WALL)
        except ChildProcessError:
            time.sleep(120)
            os._exit(0)
        if tid in parents and os.WIFSTOPPED(status):
            is_signal = status >> 16 == 0 and os.WSTOPSIG(status) != signal.SIGTRAP
            libc.ptrace(PTRACE_CONT, tid, None, os.WSTOPSIG(status) if is_signal else None)


@contextlib.contextmanager
def frozen(held, parents=()):
    """Holds single threads of a process, as a debugger does, while the rest runs."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    tracer = os.fork()
    if tracer == 0:  # threads go on when it ends
        try:
            trace(libc, set(held), set(parents))
        finally:
            os._exit(1)
    try:
        time.sleep(0.3)
        if os.waitpid(tracer, os.WNOHANG)[0]:
            raise Skip("threads cannot be traced here")
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(tracer, 9)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(tracer, 0)


def restarted_by_watchdog(machine, pid, mark, begin):
    """Waits for another process that is ready; the journal has to say why."""
    wait_for("systemd starts another process",
             lambda: prop(machine, "alfred.service", "MainPID") not in (pid, "0"), LIMIT_S * 2 + 50)
    wait_ready(machine)
    took = time.monotonic() - begin
    text = machine.out(f"journalctl --no-pager --after-cursor='{mark}' -u alfred")
    check("Watchdog timeout" in text, f"the journal does not name the watchdog:\n{text}")
    check(took < LIMIT_S * 2 + 5, f"it took {took:.1f} s with WatchdogSec={LIMIT_S}")
    return text, took


@scenario("watchdog-stopped-process", row=f"Stopped (SIGSTOP), with `WatchdogSec={LIMIT_S}s` instead of 20 s")
def stopped(machine, context):
    """SIGSTOP under load: another process serves within twice the watchdog's time."""
    with drop_in(machine, "watchdog.conf", f"[Service]\nWatchdogSec={LIMIT_S}s\n"):
        wait_ready(machine)
        pid = prop(machine, "alfred.service", "MainPID")
        with watched(machine) as watch:
            watch.fault()
            machine.run(f"kill -STOP {pid}")
            another_process(machine, pid, LIMIT_S * 2 + 50)
            wait_ready(machine)
            seen = watch.end(LIMIT_S * 2 + 5, may=BROKEN,
                             says=[r"Watchdog timeout \(limit .*\)!", "alfred .* is ready"])
    wait_ready(machine)
    return seen


def stuck(machine, is_pool):
    """Freezes the workers of the runtime or, with `is_pool`, every other of its threads, those that
    search, and those that it starts later. The watchdog has to restart the daemon."""
    with drop_in(machine, "watchdog.conf", f"[Service]\nWatchdogSec={LIMIT_S}s\n"):
        wait_ready(machine)
        machine.run(ASK)
        mark, pid = cursor(machine), prop(machine, "alfred.service", "MainPID")
        outside = host_pid(machine, pid)
        everything = threads(outside)
        # Workers are started with the runtime, one a core; threads for blocking work as needed.
        runtime = sorted(tid for tid, name in everything.items() if name.startswith(RUNTIME))
        check(runtime, f"no thread of the runtime among {sorted(set(everything.values()))}")
        workers, pool = runtime[:os.cpu_count()], runtime[os.cpu_count():]
        begin = time.monotonic()
        with frozen(pool, [outside, *workers]) if is_pool else frozen(workers):
            text, took = restarted_by_watchdog(machine, pid, mark, begin)
    wait_ready(machine)
    check("own request" in text, f"the daemon does not say that its own request failed:\n{text}")
    return f"{len(pool if is_pool else workers)} threads held, ready again after {took:.1f} s"


@scenario("watchdog-stuck-runtime")
def stuck_runtime(machine, context):
    """The threads of the runtime are stuck: the watchdog restarts the daemon, which said why."""
    return stuck(machine, is_pool=False)


@scenario("watchdog-stuck-pool")
def stuck_pool(machine, context):
    """The threads that search are stuck: the watchdog restarts the daemon, which said why."""
    return stuck(machine, is_pool=True)


@scenario("watchdog-idle")
def idle(machine, context):
    """Nobody asks anything for three times the watchdog's time: nothing is restarted."""
    with drop_in(machine, "watchdog.conf", f"[Service]\nWatchdogSec={LIMIT_S}s\n"):
        wait_ready(machine)
        before = prop(machine, "alfred.service", "MainPID")
        time.sleep(LIMIT_S * 3)
        equal(prop(machine, "alfred.service", "MainPID"), before, "the process")
        equal(prop(machine, "alfred.service", "NRestarts"), "0", "restarts")
    wait_ready(machine)


@scenario("watchdog-long-start")
def long_start(machine, context):
    """A start that takes longer than TimeoutStartSec= and gets on is given the time that it needs."""
    # The daemon asks after 5 s in which it computed for 50 ms or more.
    limit_s, most_s = 7, 60
    with drop_in(machine, "start.conf", f"[Service]\nTimeoutStartSec={limit_s}s\n", restart=False):
        machine.run("systemctl stop alfred.socket alfred.service")
        begin = time.monotonic()
        machine.run("systemctl start --no-block alfred.service")
        outside = wait_for("it starts", lambda: named(machine, "alfred"), pause=0)
        # 13 ms of each second to compute in until the limit is over, then more: the start gets on, slowly.
        os.kill(outside, signal.SIGSTOP)
        held, at_first = time.monotonic(), computed_s(outside)
        state = "activating"
        while state == "activating" and time.monotonic() - begin < most_s:
            os.kill(outside, signal.SIGSTOP)
            time.sleep(0.2)
            state = prop(machine, "alfred.service", "ActiveState")
            over = time.monotonic() - begin > limit_s + 0.5
            if over or computed_s(outside) - at_first < 0.013 * (time.monotonic() - held):
                os.kill(outside, signal.SIGCONT)
                time.sleep(0.02 if over else 0.002)
        took = time.monotonic() - begin
        wait_ready(machine)
        check(took > limit_s, f"it took only {took:.1f} s, so nothing was tried")
        equal(host_pid(machine, prop(machine, "alfred.service", "MainPID")), outside, "the process")
    machine.run("systemctl start alfred.socket")
    wait_ready(machine)
    return f"ready after {took:.1f} s with TimeoutStartSec={limit_s}"
