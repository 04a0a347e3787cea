"""The name server is gone while the provider is known by its name."""

import contextlib
import os
import signal
import sys
import time

from scenario import HERE, check, equal, drop_in, prop, reset, scenario, wait_ready
from watch import watched

PORT = 18430
GONE_S = 5


@contextlib.contextmanager
def beside(machine, script, port):
    """A server of the test in the container's network."""
    process = machine.start([sys.executable, str(HERE / script), str(port)], network_only=True)
    try:
        check(process.stdout.readline().strip() == "ready", f"{script} does not start")
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def by_name(machine):
    """The daemon with a provider that only a name server knows, asked anew for each call."""
    machine.write("/etc/resolv.conf", "nameserver 127.0.0.1\n")
    settings = {"ALFRED__EMBEDDING__KIND": "openai", "ALFRED__STORE__PATH": "/var/lib/alfred/by-name",
                "OPENAI_BASE_URL": f"http://provider.example:{PORT}/v1", "OPENAI_API_KEY": "sk-by-name-0000"}
    text = "[Service]\n" + "".join(f"Environment={name}={value}\n" for name, value in settings.items())
    with beside(machine, "provider.py", PORT):
        try:
            with drop_in(machine, "by-name.conf", text):
                wait_ready(machine)
                yield
        finally:
            machine.remove("/etc/resolv.conf", "/var/lib/alfred/by-name")
            reset(machine)


def without_names(machine, away, says):
    """What needs the provider fails meanwhile, and says so; the rest goes on."""
    with by_name(machine), contextlib.ExitStack() as servers:
        server = servers.enter_context(beside(machine, "nameserver.py", 53))
        pid = prop(machine, "alfred.service", "MainPID")
        with watched(machine, rate=50) as watch:
            watch.fault()
            away(server)
            time.sleep(GONE_S)
            if server.poll() is None:
                os.kill(server.pid, signal.SIGCONT)
            else:
                servers.enter_context(beside(machine, "nameserver.py", 53))
            watch.mended()
            seen = watch.end(8, may=("503 `openai_error`", "503 `overloaded`"), says=[says, "the provider is back.*"],
                             by_kind=True)
        equal(prop(machine, "alfred.service", "MainPID"), pid, "the process")
    for reply in seen.replies:
        check(reply.outcome == "200" or reply.kind in ("new questions", "writes"),
              f"{reply.kind}: {reply.outcome}, though no name is needed")
    return seen


@scenario("names-silent", row="The name server answers nothing, with a provider that has to be looked up")
def silent(machine, context):
    """The name server is silent: 503 for what needs the provider, the rest goes on."""
    return without_names(machine, lambda server: os.kill(server.pid, signal.SIGSTOP), r"the provider is down:.*")


@scenario("names-gone", row="No name server is there, with a provider that has to be looked up")
def gone(machine, context):
    """No name server: the same, only quicker."""
    def away(server):
        server.kill()
        server.wait()

    return without_names(machine, away, r"the provider is down:.*")
