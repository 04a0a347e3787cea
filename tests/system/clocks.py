"""The wall clock steps, and the machine is suspended: a preloaded library (clock_shim.c) moves the clock of the
daemon's process, and no other."""

import contextlib
import datetime
import json
import shutil
import subprocess
import sys
import time

from machine import wait_for
from scenario import HERE, Skip, check, drop_in, equal, prop, scenario, wait_ready
from watch import watched

HOUR_S = 3600
OFFSET = "/etc/alfred/clock-offset"
SHIM = "/usr/local/lib/clock_shim.so"
# How long the daemon stands still while the clock goes on by an hour; below WatchdogSec=, as systemd's own
# clock stands still during a suspend.
ASLEEP_S = 3


@contextlib.contextmanager
def moved(machine):
    """The daemon with a wall clock that `move` moves; its monotonic clock is the machine's."""
    if shutil.which("gcc") is None:
        raise Skip("gcc, which builds what moves the clock, is not installed")
    library = machine.folder / "clock_shim.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, HERE / "clock_shim.c"], check=True)
    machine.file(SHIM).write_bytes(library.read_bytes())
    machine.file(OFFSET).write_bytes(bytes(8))
    text = f"[Service]\nEnvironment=LD_PRELOAD={SHIM} ALFRED_TEST_CLOCK={OFFSET}\n"
    with drop_in(machine, "clock.conf", text):
        wait_ready(machine)
        yield
    machine.remove(OFFSET, SHIM)
    wait_ready(machine)


def move(machine, offset_s):
    """Puts the daemon's wall clock that far ahead, in place, since the file is mapped."""
    with open(machine.file(OFFSET), "r+b") as file:
        file.write(offset_s.to_bytes(8, sys.byteorder, signed=True))


def ahead_s(machine):
    """How far the daemon's wall clock is ahead of the machine's, by the time of a reload made now."""
    machine.run("systemctl reload alfred")
    at = status(machine)["reload"]["last"]
    return datetime.datetime.fromisoformat(at[:19] + "+00:00").timestamp() - time.time()


def status(machine):
    """What the daemon says of itself."""
    return json.loads(machine.out("curl -s --unix-socket /run/alfred/alfred.sock http://localhost/v1/status"))


def stepped(machine, offset_s, asleep_s=0.0):
    """Moves the clock under load, the process standing still for `asleep_s` s meanwhile."""
    with moved(machine):
        pid, begin, up = prop(machine, "alfred.service", "MainPID"), time.monotonic(), status(machine)["uptime_s"]
        with watched(machine) as watch:
            watch.fault()
            if asleep_s:
                machine.run(f"kill -STOP {pid}")
            move(machine, offset_s)
            time.sleep(asleep_s)
            if asleep_s:
                machine.run(f"kill -CONT {pid}")
                watch.mended()
            wait_for("the daemon sees the step", lambda: abs(ahead_s(machine) - offset_s) < 60, 10, 0.2)
            if not asleep_s:
                watch.mended()
            # Much comes at once after a suspend.
            seen = watch.end(2, may=["503 `overloaded`"] if asleep_s else [])
        equal(prop(machine, "alfred.service", "MainPID"), pid, "the process")
        ran = status(machine)["uptime_s"] - up
        check(abs(ran - (time.monotonic() - begin)) < 5, f"by its own account it ran {ran} s meanwhile")
    return seen


@scenario("clock-forward", row="The clock steps an hour ahead")
def forward(machine, context):
    """The wall clock steps an hour ahead: nobody notices."""
    return stepped(machine, HOUR_S)


@scenario("clock-back", row="The clock steps an hour back")
def back(machine, context):
    """The wall clock steps an hour back: nobody notices."""
    return stepped(machine, -HOUR_S)


@scenario("clock-suspend", row=f"Suspended: the process stands still for {ASLEEP_S} s, its clock goes on by an hour")
def suspend(machine, context):
    """A suspend as the daemon sees it: what waited is answered at once, nothing is restarted."""
    return stepped(machine, HOUR_S, ASLEEP_S)
