"""`alfred up --engine systemd`: the services of the machine, with a database made for alfred."""

import json

from machine import wait_for
from scenario import Skip, check, equal, prop, scenario, wait_ready

UP = "alfred up --engine systemd --provision -d pg redis server"
# Section 2 of the plan of performance tests.
PLAN_DSN = "postgresql://alfred:alfred@localhost:5432/alfred?sslmode=disable"


def has_services(machine):
    """Skips where Debian has no pgvector."""
    if not machine.out("ls /usr/share/postgresql/*/extension/vector.control 2>/dev/null", check=False):
        raise Skip("this Debian has no pgvector")


def active(machine, unit):
    """Whether a unit runs."""
    return prop(machine, unit, "ActiveState") == "active"


@scenario("stack-provision", spoils=True)
def provision(machine, context):
    """`alfred up --engine systemd --provision` twice: made once, then kept; a query on PostgreSQL; ps; down."""
    has_services(machine)
    first = machine.run(UP)
    for line in ("created the role alfred", "created the database alfred", "created the extension vector of alfred",
                 "wrote /etc/alfred/conf.d/stack.toml"):
        check(line in first.stderr, f"not said: {line}\n{first.stderr}")
    check("http://localhost:8080" in first.stdout, f"no address of the server:\n{first.stdout}")
    pid = prop(machine, "alfred.service", "MainPID")
    second = json.loads(machine.out(UP + " --json"))
    made = [line for line in second["provisioned"] if "is there" not in line and "as it should be" not in line]
    equal(made, [], "made by the second run")
    check(all(service["ran_before"] for service in second["services"]), f"not all ran before: {second}")
    equal(prop(machine, "alfred.service", "MainPID"), pid, "the process after the second run")
    machine.run("alfred ingest /usr/share/alfred/manual/helm.md --root /usr/share/alfred/manual")
    rows = machine.out("cd /tmp && psql -qtA -d alfred -c 'SELECT count(*) FROM documents'", user="postgres")
    check(int(rows) > 0, "nothing is in the database")
    answer = json.loads(machine.out("alfred query --json 'How do I upgrade the Helm chart?'"))
    equal(answer["citations"][0]["source"], "helm.md", "the first citation")
    cached = machine.out("redis-cli DBSIZE")
    check(int(cached) > 0, "no embedding is in Redis")
    states = {one["service"]: one for one in json.loads(machine.out("alfred ps --engine systemd --json"))["services"]}
    for name in ("pg", "redis", "server"):
        check(states[name]["ready"], f"{name} is not ready: {states[name]}")
    equal((states["grafana"]["state"], states["prometheus"]["state"]), ("absent", "stopped"), "grafana and prometheus are")
    return stop_what_was_started(machine, pid)


def stop_what_was_started(machine, pid):
    """down stops PostgreSQL and Redis, which up started, and leaves the daemon, which ran before."""
    down = machine.run("alfred down --engine systemd").stderr
    check("alfred.service ran before `alfred up`" in down, f"not said:\n{down}")
    for unit in ("postgresql.service", "redis-server.service"):
        check(not active(machine, unit), f"{unit} still runs")
    equal(prop(machine, "alfred.service", "MainPID"), pid, "the daemon that ran before")
    machine.run("systemctl stop alfred.socket alfred.service")
    machine.run("alfred up --engine systemd -d pg redis server")
    answer = json.loads(machine.out("alfred query --json 'How do I upgrade the Helm chart?'"))
    check(answer["citations"], "no citation after a new start")
    machine.run("alfred down --engine systemd")
    for unit in ("postgresql.service", "redis-server.service", "alfred.service", "alfred.socket"):
        check(not active(machine, unit), f"{unit} still runs")
    return "made once, kept twice; down stopped what up had started"


@scenario("stack-as-the-plan-says", spoils=True)
def plan(machine, context):
    """POSTGRES_DSN of the plan is what --provision makes, and it works; Prometheus too; what is missing is said."""
    has_services(machine)
    said = machine.run(f"POSTGRES_DSN='{PLAN_DSN}' {UP}")
    equal(machine.out(f"psql -qtA '{PLAN_DSN}' -c 'SELECT current_user'"), "alfred", "who the DSN logs in as")
    everything = said.stdout + said.stderr + machine.out("cat /etc/alfred/conf.d/stack.toml")
    check("alfred:alfred@" not in everything, "the password shows")
    # As an administrator who keeps another store.
    machine.remove("/etc/alfred/conf.d/stack.toml")
    machine.write("/etc/alfred/conf.d/own.toml", "[store]\nkind = \"embedded\"\n")
    kept = machine.run(UP).stderr
    check("they name a store already" in kept, f"not said:\n{kept}")
    machine.remove("/etc/alfred/conf.d/own.toml")
    machine.run("systemctl restart alfred")
    wait_ready(machine)
    machine.run("alfred up --engine systemd -d prometheus")
    wait_for("Prometheus answers", lambda: machine.run("curl -fs http://127.0.0.1:9090/-/ready", check=False).returncode == 0)
    missing = machine.run("alfred up --engine systemd -d grafana loki minio", check=False)
    equal(missing.returncode, 1, "exit code where something is missing")
    check("package loki is another program" in missing.stderr, missing.stderr)
    refused = machine.run("alfred up --engine systemd -d pg", check=False, user="nobody")
    # It runs already, so there is nothing to start, and nothing to refuse.
    equal(refused.returncode, 0, "exit code for who only looks")
    refused = machine.run("alfred up --engine systemd --provision -d pg", check=False, user="nobody")
    check(refused.returncode == 1 and "sudo" in refused.stderr, refused.stderr)
    return "the plan's DSN logs in"
