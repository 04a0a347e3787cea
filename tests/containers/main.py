"""What scripts/container-test tries with real containers: a line a step, then a count."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

SOURCE = pathlib.Path(__file__).parent.parent.parent
PROJECT = f"alfred-test-{os.getpid()}"
SERVICES = ("pg", "redis", "server", "prometheus")


class Failed(AssertionError):
    """What was found wrong."""


def check(condition, words):
    """Fails with these words unless the condition holds."""
    if not condition:
        raise Failed(words)


def free_ports(count):
    """That many ports that nobody listens on."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for(what, condition, seconds):
    """Polls until `condition` returns something true, which it returns."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        check(time.monotonic() < deadline, f"not within {seconds} s: {what}")
        time.sleep(0.5)


class Stack:
    """The stack under test, in a project and on ports of its own."""

    def __init__(self, binary):
        self.binary = binary
        self.home = tempfile.TemporaryDirectory()
        self.ports = dict(zip(SERVICES, free_ports(len(SERVICES))))
        self.environment = {name: value for name, value in os.environ.items()
                            if name not in ("POSTGRES_DSN", "OPENAI_API_KEY", "REDIS_URL")}
        self.environment |= {f"ALFRED_{name.upper()}_PORT": str(port) for name, port in self.ports.items()}
        self.environment |= {"COMPOSE_PROJECT_NAME": PROJECT, "ALFRED_COMPOSE": "podman-compose",
                             "HOME": self.home.name, "XDG_DATA_HOME": self.home.name}

    def alfred(self, *words, code=0, seconds=300, **environment):
        """Runs alfred to its end."""
        done = subprocess.run([self.binary, *words], capture_output=True, text=True, timeout=seconds, check=False,
                              cwd=SOURCE, env=self.environment | environment)
        check(done.returncode == code, f"alfred {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def podman(self, *words, code=0):
        """Runs podman to its end."""
        done = subprocess.run(["podman", *words], capture_output=True, text=True, timeout=120, check=False,
                              env=self.environment)
        check(done.returncode == code, f"podman {' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def states(self):
        """What `alfred ps` says of each service."""
        answer = json.loads(self.alfred("ps", "--json").stdout)
        return {one["service"]: one for one in answer["services"]}

    def get(self, service, path, body=None):
        """The JSON that a published port answers."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.ports[service]}{path}", data,
                                         {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)

    def dsn(self):
        """The plan's, on this port."""
        return f"postgresql://alfred:alfred@localhost:{self.ports['pg']}/alfred?sslmode=disable"


def up(stack):
    """alfred up -d pg redis server prometheus: started, waited for, addresses printed."""
    done = stack.alfred("up", "-d", *SERVICES, seconds=400)
    check(stack.dsn() in done.stdout, done.stdout)
    for name in SERVICES:
        check(f"{name} is ready after" in done.stderr, f"no line of {name}:\n{done.stderr}")
    return " ".join(line for line in done.stderr.splitlines() if "is ready after" in line)


def ps(stack):
    """alfred ps: four run and answer, three are absent."""
    states = stack.states()
    for name in SERVICES:
        check(states[name]["state"] == "running" and states[name]["ready"], states[name])
    check(states["grafana"]["state"] == "absent", states["grafana"])
    return stack.alfred("ps").stdout.splitlines()[1]


def health(stack):
    """The health checks of the compose file pass inside the containers."""
    for name in SERVICES:
        container = stack.states()[name]["name"]
        stack.podman("healthcheck", "run", container)


def confined(stack):
    """The server is not root, its root is read-only, it has no rights and a limit, and ports are on loopback."""
    inspected = json.loads(stack.podman("inspect", stack.states()["server"]["name"]))[0]
    check(inspected["Config"]["User"] == "65532:65532", inspected["Config"]["User"])
    host = inspected["HostConfig"]
    check(host["ReadonlyRootfs"], "the root can be written")
    check(host["Memory"] == 2 << 30 and host["PidsLimit"] == 512, (host["Memory"], host["PidsLimit"]))
    check(inspected["EffectiveCaps"] in (None, []), inspected["EffectiveCaps"])
    for name in SERVICES:
        one = json.loads(stack.podman("inspect", stack.states()[name]["name"]))[0]
        bindings = [binding for bound in one["HostConfig"]["PortBindings"].values() for binding in bound]
        check(bindings and all(binding["HostIp"] == "127.0.0.1" for binding in bindings), bindings)


def answers(stack):
    """Documents ingested from outside as the plan does, a query answered by the server inside."""
    stack.alfred("ingest", "docs/helm.md", "docs/postgres.md", "--batch", "128", POSTGRES_DSN=stack.dsn())
    answer = stack.get("server", "/v1/query", {"query": "How do I upgrade the Helm chart?", "top_k": 3})
    check(answer["citations"][0]["source"] == "docs/helm.md", answer)
    status = stack.get("server", "/v1/status")
    check("postgres" in json.dumps(status), status)
    return answer["citations"][0]["source"]


def scraped(stack):
    """Prometheus sees the target up and has the rules; Redis has the embedding."""
    def is_up():
        targets = stack.get("prometheus", "/api/v1/targets")["data"]["activeTargets"]
        return [one for one in targets if one["labels"]["job"] == "alfred" and one["health"] == "up"]
    target = wait_for("the target is up", is_up, 60)[0]
    rules = stack.get("prometheus", "/api/v1/rules")["data"]["groups"]
    count = sum(len(group["rules"]) for group in rules)
    check(count == 20, f"{count} rules")
    keys = stack.podman("exec", stack.states()["redis"]["name"], "redis-cli", "DBSIZE")
    check(int(keys.split()[-1]) > 0, "no embedding is in Redis")
    return target["scrapeUrl"]


def profiled(stack):
    """A profile is for who is inside the container's network, and for nobody outside."""
    pid = json.loads(stack.podman("inspect", stack.states()["server"]["name"]))[0]["State"]["Pid"]
    path = "/debug/pprof/profile?seconds=1"
    inside = subprocess.run(["nsenter", "--target", str(pid), "--net", "curl", "-fsS", f"http://localhost:8080{path}"],
                            capture_output=True, timeout=60, check=False)
    check(inside.stdout[:2] == b"\x1f\x8b", f"no profile: {inside.stderr}")
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{stack.ports['server']}{path}", timeout=20)
    except urllib.error.HTTPError as error:
        return f"outside {error.code}"
    raise Failed("a profile was given to who came through the published port")


def again(stack):
    """A second up changes nothing; a service that was killed comes back with it."""
    before = json.loads(stack.podman("inspect", stack.states()["server"]["name"]))[0]["Id"]
    answer = json.loads(stack.alfred("up", "-d", "--json", *SERVICES).stdout)
    check(all(one["ran_before"] for one in answer["services"]), answer)
    after = json.loads(stack.podman("inspect", stack.states()["server"]["name"]))[0]["Id"]
    check(before == after, "the container of the server is another one")
    stack.podman("stop", "-t", "5", stack.states()["redis"]["name"])
    check(stack.states()["redis"]["state"] in ("stopped", "failed"), stack.states()["redis"])
    stack.alfred("up", "-d", "redis")
    check(stack.states()["redis"]["ready"], stack.states()["redis"])


def down_and_up(stack):
    """down keeps the documents, down --volumes does not."""
    stack.alfred("down", seconds=400)
    check(all(one["state"] == "absent" for one in stack.states().values()), stack.states())
    stack.alfred("up", "-d", "server")
    info = json.loads(stack.alfred("store", "info", "--json", POSTGRES_DSN=stack.dsn()).stdout)
    check(info["documents"] == 2, info)
    stack.alfred("down", "--volumes", seconds=400)
    left = stack.podman("volume", "ls", "--format", "{{.Name}}").split()
    check(not [name for name in left if PROJECT in name], left)


def foreground(stack):
    """Without -d the log is followed; Ctrl-C stops what was started."""
    process = subprocess.Popen([stack.binary, "up", "redis"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               cwd=SOURCE, env=stack.environment, start_new_session=True)
    try:
        wait_for("Redis answers", lambda: stack.states()["redis"]["ready"], 60)
        seen = []
        # The log, not the table before it.
        while "Ready to accept connections" not in (seen[-1] if seen else ""):
            line = process.stdout.readline()
            check(line, f"the log ended: {seen}")
            seen.append(line)
        # As a terminal does: to all of its programs.
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        check(process.returncode == 0, f"{process.returncode}: {errors}")
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    check(stack.states()["redis"]["state"] in ("stopped", "failed"), stack.states()["redis"])
    stack.alfred("down", "--volumes")


def main():
    # Whatever hangs: the clean-up below still runs.
    signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(Failed("not within 20 minutes")))
    signal.alarm(1200)
    stack = Stack(sys.argv[1])
    steps = [up, ps, health, confined, answers, scraped, profiled, again, down_and_up, foreground]
    failed = 0
    try:
        for step in steps:
            begin = time.monotonic()
            try:
                words, result = step(stack) or "", "ok"
            except (Failed, subprocess.TimeoutExpired, OSError) as problem:
                words, result = str(problem), "FAIL"
            print(f"{result:7} {step.__name__:14} {time.monotonic() - begin:6.1f} s  {words}".rstrip(), flush=True)
            if result == "FAIL":
                failed = 1
                break
    finally:
        subprocess.run([stack.binary, "down", "--volumes"], env=stack.environment, cwd=SOURCE, check=False,
                       capture_output=True, timeout=300)
    print(f"\n{len(steps) if not failed else steps.index(step)} ok, {failed} failed")
    return failed


if __name__ == "__main__":
    sys.exit(main())
