"""API keys and certificates of an installed daemon: made, changed under load, broken, revoked."""

import contextlib
import re
import subprocess
import time

from machine import wait_for
from scenario import (Load, all_answered, check, cursor, drop_in, equal, make_corpus, prop, reset,
                      scenario, status_of, wait_ready)

KEYS = "/var/lib/alfred/keys.toml"
CERTIFICATES = "/etc/alfred/tls"


def new_key(machine, name, words=""):
    """Makes a key as root; answers its text."""
    key = machine.out(f"alfred key new {name} {words}")
    check(re.fullmatch(r"[A-Za-z0-9_-]{32,}", key), f"not a key alone: {key!r}")
    return key


def asked(machine, key=None, path="/v1/status", base="http://127.0.0.1:8080"):
    """The HTTP status over TCP, with a key or without."""
    header = f"-H 'authorization: Bearer {key}'" if key else ""
    answer = machine.run(f"curl -sk -m 5 -o /dev/null -w '%{{http_code}}' {header} {base}{path}", check=False)
    return int(answer.stdout or 0)


@contextlib.contextmanager
def without_keys_afterwards(machine):
    """The daemon has no keys when the block has ended, however it does."""
    try:
        yield
    finally:
        machine.remove(KEYS)
        machine.run("systemctl restart alfred")
        wait_ready(machine)


@scenario("access-keys")
def keys(machine, context):
    """Keys made as root are the daemon's and in force at once; one is revoked under another's load."""
    make_corpus(machine, "/srv/access", 5)
    machine.run("alfred ingest '/srv/access/*.md' --root /srv/access")
    machine.run("useradd -m keyless && usermod -aG alfred keyless")
    mark, pid = cursor(machine), prop(machine, "alfred.service", "MainPID")
    with without_keys_afterwards(machine):
        old, app = new_key(machine, "old"), new_key(machine, "app")
        equal(machine.out(f"stat -c '%U %G %a' {KEYS}"), "alfred alfred 640", "the file of keys")
        equal(asked(machine), 401, "over TCP without a key")
        equal(asked(machine, app), 200, "over TCP with a key")
        equal(asked(machine, "wrong" + app[5:]), 401, "with a wrong key")
        equal(asked(machine, path="/readyz"), 200, "/readyz without a key")
        machine.run("alfred query 'How do I upgrade?'", user="keyless")
        load = Load(machine, 8, 100, key=app)
        try:
            time.sleep(2)
            equal(asked(machine, old), 200, "the old key before")
            machine.run("alfred key revoke old")
            equal(asked(machine, old), 401, "the old key after")
            for _ in range(3):
                machine.run("systemctl reload alfred")
            words = all_answered([load.result()], 797)
        finally:
            load.stop()
        equal(prop(machine, "alfred.service", "MainPID"), pid, "the process")
        said = machine.out(f"journalctl --no-pager -o export --after-cursor='{mark}'; systemctl show alfred")
        check(app not in said and old not in said, "a key is in the journal")
    equal(asked(machine), 200, "without a file of keys again")
    return words


@scenario("access-broken-keys")
def broken(machine, context):
    """A file of keys that is wrong: the reload fails with the reason, the keys in force stay."""
    with without_keys_afterwards(machine):
        app = new_key(machine, "app")
        machine.append(KEYS, "[[key]]\nname = \"next\"\nsha256 = \"short\"\n")
        refused = machine.run("systemctl reload alfred", check=False)
        check(refused.returncode != 0, "the reload of a wrong file of keys did not fail")
        status = machine.out("systemctl status --no-pager --full alfred")
        check("keys.toml" in status, f"systemctl status does not name the file:\n{status}")
        equal(asked(machine, app), 200, "with the key in force")
        equal(asked(machine), 401, "without one")


@scenario("access-exposed")
def exposed(machine, context):
    """The socket opened to the network without keys: no start (78); with a key it serves."""
    text = "[Socket]\nListenStream=\nListenStream=0.0.0.0:8080\nListenStream=/run/alfred/alfred.sock\n"
    machine.run("systemctl stop alfred.service")
    try:
        with drop_in(machine, "open.conf", text, unit="alfred.socket", restart=False):
            machine.run("systemctl restart alfred.socket")
            refused = machine.run("systemctl start alfred", check=False)
            check(refused.returncode != 0, "it started open to the network and without keys")
            equal(prop(machine, "alfred.service", "ExecMainStatus"), "78", "exit status")
            reason = machine.out("journalctl --no-pager -u alfred -n 20")
            check("alfred key new" in reason, f"the journal does not say what to do:\n{reason}")
            app = new_key(machine, "app")
            machine.run("systemctl reset-failed alfred.service alfred.socket; systemctl start alfred.socket alfred")
            wait_ready(machine)
            equal((asked(machine), asked(machine, app)), (401, 200), "without and with the key")
    finally:
        machine.remove(KEYS)
        machine.run("systemctl stop alfred.service alfred.socket", check=False)
        reset(machine)


@scenario("access-credential")
def credential(machine, context):
    """Keys as a systemd credential: a restart puts them in force, and no file of keys is needed."""
    place = "/etc/credstore/alfred.api_keys"
    machine.run("mkdir -p -m 700 /etc/credstore")
    try:
        key = machine.out(f"alfred key new app --file {place} --no-reload")
        equal(machine.out(f"stat -c '%a' {place}"), "640", "the mode of the credential's file")
        machine.run("systemctl restart alfred")
        wait_ready(machine)
        equal((asked(machine), asked(machine, key)), (401, 200), "without and with the key")
    finally:
        machine.remove(place)
        machine.run("systemctl restart alfred")
        wait_ready(machine)


def certificate(machine, name):
    """A certificate that signs itself, for localhost, put where docs/operating.md says."""
    folder = machine.folder
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                    "-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "30",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    put(machine, cert, key)
    return cert, key


def put(machine, cert, key):
    """Puts a pair into place, readable for the daemon."""
    machine.run(f"install -d -m 750 -g alfred {CERTIFICATES}")
    for file, name in ((cert, "cert.pem"), (key, "key.pem")):
        machine.write(f"{CERTIFICATES}/{name}", file.read_text(), 0o640)
    machine.run(f"chgrp alfred {CERTIFICATES}/*.pem")


def served(machine):
    """Who the certificate that is shown to a new connection is for."""
    shown = subprocess.run(machine.enter(True) + ["openssl", "s_client", "-connect", "127.0.0.1:8080"],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False).stdout
    return re.search(r"subject=CN ?= ?(\S+)", shown)[1]


@scenario("access-certificate")
def renewal(machine, context):
    """TLS: a certificate is renewed by reload under load; a pair that does not fit changes nothing."""
    https = "https://127.0.0.1:8080"
    first = certificate(machine, "first")
    second = certificate(machine, "second")
    put(machine, *first)
    # Both are trusted by the clients, as two of one authority would be.
    trusted = machine.folder / "trusted.pem"
    trusted.write_text(first[0].read_text() + second[0].read_text())
    machine.write("/etc/alfred/conf.d/50-tls.toml",
                  f"[server]\ntls_cert = \"{CERTIFICATES}/cert.pem\"\ntls_key = \"{CERTIFICATES}/key.pem\"\n")
    try:
        # Its own request, too, has to get through TLS.
        machine.write("/etc/systemd/system/alfred.service.d/watchdog.conf", "[Service]\nWatchdogSec=4s\n")
        machine.run("alfred config check && systemctl daemon-reload && systemctl restart alfred")
        wait_for("it is ready", lambda: asked(machine, path="/readyz", base=https) == 200)
        equal(served(machine), "first", "the certificate")
        equal(status_of(machine), 400, "a request without TLS")
        machine.run("alfred status")  # over the unix socket, as before
        pid = prop(machine, "alfred.service", "MainPID")
        loads = [Load(machine, 12, 50, keep_alive=keep, ca_file=trusted) for keep in (True, False)]
        try:
            time.sleep(3)
            put(machine, *second)
            machine.run("systemctl reload alfred")
            equal(served(machine), "second", "the certificate after the reload")
            put(machine, first[0], second[1])
            refused = machine.run("systemctl reload alfred", check=False)
            check(refused.returncode != 0, "a key that is not the certificate's was taken")
            equal(served(machine), "second", "the certificate after the refused reload")
            words = all_answered([load.result() for load in loads], 1197)
        finally:
            for load in loads:
                load.stop()
        equal(prop(machine, "alfred.service", "MainPID"), pid, "the process")
        put(machine, *second)
        check("expires" in machine.out("alfred status --json"), "alfred status does not say until when it is good")
    finally:
        machine.remove(CERTIFICATES, "/etc/alfred/conf.d/50-tls.toml")
        reset(machine)
    return words
