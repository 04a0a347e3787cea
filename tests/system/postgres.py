"""PostgreSQL on the same machine as store, through its unix socket, by drop-in and credential."""

import json
import time

from machine import wait_for
from scenario import (ASK, Load, Skip, check, documents, drop_in, equal, journal, cursor, make_corpus,
                      message_id, prop, scenario, status_of, wait_ready)

PASSWORD = "pg-do-not-show-7d793037a076"
DSN = f"host=/run/postgresql user=alfred password={PASSWORD} dbname=alfred"


def set_up(machine):
    """Starts PostgreSQL and makes the database that docs/systemd.md describes."""
    if not machine.out("ls /usr/share/postgresql/*/extension/vector.control 2>/dev/null", check=False):
        raise Skip("this Debian has no pgvector")
    machine.run("systemctl start postgresql")
    wait_for("PostgreSQL answers", lambda: machine.run("pg_isready -q", check=False).returncode == 0)
    machine.run("cd /tmp && createuser alfred && createdb -O alfred alfred"
                " && psql -q -d alfred -c 'CREATE EXTENSION vector'", user="postgres")
    machine.write("/etc/credstore/alfred.postgres_dsn", DSN + "\n", 0o600)


@scenario("postgres-store", spoils=True)
def store(machine, context):
    """Store in PostgreSQL by drop-in, the DSN a credential; confined too; stopped and back under load."""
    set_up(machine)
    example = machine.out("cat /usr/share/doc/alfred/examples/postgres.conf")
    with drop_in(machine, "postgres.conf", example, restart=False):
        machine.run("systemctl restart alfred")
        wait_ready(machine)
        status = json.loads(machine.out("curl -s http://127.0.0.1:8080/v1/status"))
        check("postgres" in json.dumps(status), f"the store is another: {status}")
        make_corpus(machine, "/srv/pg", 20)
        machine.run("alfred ingest '/srv/pg/*.md' --root /srv/pg")
        rows = machine.out("cd /tmp && psql -qtA -d alfred -c 'SELECT count(DISTINCT source) FROM documents'", user="postgres")
        equal(rows, "20", "documents in the database")
        words = outage(machine)
        confined = machine.out("cat /usr/share/doc/alfred/examples/confined.conf")
        with drop_in(machine, "confined.conf", confined):
            wait_ready(machine)
            check(json.loads(machine.out(ASK))["citations"], "no citation while confined")
        shown = machine.out("systemctl show alfred; alfred status; journalctl --no-pager -o export", check=False)
        check(PASSWORD not in shown, "the password shows")
    return words


def outage(machine):
    """Stops and starts PostgreSQL under load: errors meanwhile, no restart, then as before."""
    pid, mark = prop(machine, "alfred.service", "MainPID"), cursor(machine)
    load = Load(machine, 12, 100)
    try:
        time.sleep(3)
        machine.run("systemctl stop postgresql")
        wait_for("/readyz says so", lambda: status_of(machine) == 503)
        equal(status_of(machine, "/healthz"), 200, "/healthz without the database")
        time.sleep(2)
        machine.run("systemctl start postgresql")
        begin = time.monotonic()
        wait_ready(machine)
        back = time.monotonic() - begin
        result = load.result()
    finally:
        load.stop()
    unavailable = sum(count for cause, count in result["failed"].items() if cause.startswith("status 503"))
    check(unavailable == sum(result["failed"].values()), f"other ends than 503: {result['failed']}")
    # Three seconds before the outage, and what is left after it.
    check(result["answered"] >= 250, f"only {result['answered']} were answered; others: {result['failed']}")
    equal(prop(machine, "alfred.service", "MainPID"), pid, "the process")
    machine.run("journalctl --sync")
    for subject in ("cannot reach", "again"):
        check(journal(machine, mark, f"MESSAGE_ID={message_id(subject)}"), f"no message: {subject}")
    return f"{result['answered']} answered, {unavailable} got 503, back after {back:.1f} s"


@scenario("postgres-away-at-boot", spoils=True)
def away(machine, context):
    """The database is away when the daemon starts: it is started, says what it waits for, recovers."""
    set_up(machine)
    machine.run("systemctl stop postgresql")
    example = machine.out("cat /usr/share/doc/alfred/examples/postgres.conf")
    with drop_in(machine, "postgres.conf", example, restart=False):
        machine.run("systemctl restart alfred", seconds=30)
        equal(status_of(machine), 503, "/readyz")
        text = prop(machine, "alfred.service", "StatusText")
        check("database" in text, f"STATUS= does not name it: {text}")
        machine.run("systemctl start postgresql")
        wait_ready(machine)
    return text
