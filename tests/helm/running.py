"""What the chart writes, given to alfred: its configuration, and what the pods run, as processes of this machine."""

import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import tomllib
import urllib.error
import urllib.request

from chart import ROOT, Rendered, nested
from combinations import COMBINATIONS, SHA256
from registry import Skip, same, test

PATIENCE_S = 60


def alfred():
    """The program, which scripts/helm-test names."""
    program = os.environ.get("ALFRED_PROGRAM")
    if not program:
        raise Skip("no alfred is built here: cargo build")
    return program


def environment(rendered, container, credentials):
    """The variables of a container; Secrets of the chart become what is in them, others a word."""
    found = {"PATH": os.environ["PATH"]}
    for variable in container.get("env", []):
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        if reference is None:
            value = variable["value"]
            for name, known in found.items():
                value = value.replace(f"$({name})", known)
        elif reference["name"] == "core-agent-core":
            value = rendered.secret()[reference["key"]]
        elif variable["name"] == "POSTGRES_DSN":
            value = "postgresql://db.example/alfred"
        else:
            value = "word"
        found[variable["name"]] = credentials if variable["name"] == "CREDENTIALS_DIRECTORY" else value
    return found


def mount_credentials(rendered, folder):
    """The credentials of the daemon as files, as the kubelet lays them out."""
    for volume in rendered.server()["volumes"]:
        for source in volume.get("projected", {}).get("sources", []):
            if source["secret"]["name"] == "core-agent-core":
                for item in source["secret"]["items"]:
                    (folder / item["path"]).write_text(rendered.secret()[item["key"]])
            else:
                (folder / "postgres_dsn").write_text("host=db.example dbname=alfred\n")
                (folder / "api_keys").write_text(f'[[key]]\nname = "app"\nrole = "query"\nsha256 = "{SHA256}"\n')


@test
def alfred_takes_the_configuration_of_every_combination():
    count = 0
    for name, given in COMBINATIONS.items():
        with tempfile.TemporaryDirectory() as work:
            rendered, work = Rendered(given), pathlib.Path(work)
            (work / "credentials").mkdir()
            mount_credentials(rendered, work / "credentials")
            file = work / "alfred.toml"
            file.write_text(rendered.configuration())
            variables = environment(rendered, rendered.server()["containers"][0], str(work / "credentials"))
            if "extraEnvFrom" in given:
                variables["POSTGRES_DSN"] = "postgresql://db.example/alfred"
            done = subprocess.run([alfred(), "config", "check", "--config", str(file)], env=variables, cwd=work,
                                  capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            assert done.returncode == 0, f"{name}:\n{done.stdout}{done.stderr}\n{file.read_text()}"
            count += 1
    return f"{count} configurations"


@test
def a_password_is_in_no_output():
    given = COMBINATIONS["PostgreSQL in the release, password given"]
    rendered = Rendered(given)
    with tempfile.TemporaryDirectory() as work:
        file = pathlib.Path(work) / "alfred.toml"
        file.write_text(rendered.configuration())
        variables = {"PATH": os.environ["PATH"], "POSTGRES_DSN": rendered.secret()["postgres_dsn"]}
        done = subprocess.run([alfred(), "config", "show", "--config", str(file), "--json"], env=variables, cwd=work,
                              capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode == 0 and given["postgresql"]["auth"]["password"] not in done.stdout, done.stdout + done.stderr


@test
def a_number_in_the_values_is_the_number_in_force():
    rendered = Rendered(nested(config__server={"max_body_bytes": 16777216, "drain_timeout_s": 86400}, config__telemetry={"otlp_sample_ratio": 1}))
    found = tomllib.loads(rendered.configuration())
    same((found["server"]["max_body_bytes"], found["server"]["drain_timeout_s"]), (16777216, 86400), "whole numbers stay whole")
    assert "16777216\n" in rendered.configuration(), "and are written without an exponent"


def free_port():
    """A port of loopback that nobody has."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


def ask(url, body=None, key=None):
    """(status, body) of a request."""
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {key}"} if key else {})}
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, headers)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as reply:
            return reply.status, reply.read()
    except urllib.error.HTTPError as problem:
        return problem.code, problem.read()


@contextlib.contextmanager
def daemon(rendered, work, database=""):
    """The daemon's container as a process: its configuration and credentials, but loopback, a folder and, where there
    is one, a database of its own."""
    container = rendered.server()["containers"][0]
    assert container["command"] == ["/usr/bin/alfred", "serve"], container["command"]
    (work / "credentials").mkdir()
    mount_credentials(rendered, work / "credentials")
    (work / "alfred.toml").write_text(rendered.configuration())
    if database:
        dsn = work / "credentials/postgres_dsn"
        dsn.write_text(dsn.read_text().replace("host=core-agent-core-postgresql port=5432", database))
    port = free_port()
    variables = {**environment(rendered, container, str(work / "credentials")),
                 "ALFRED__SERVER__LISTEN": f"127.0.0.1:{port},unix:{work}/alfred.sock", "ALFRED__STORE__PATH": f"{work}/store",
                 "ALFRED__SERVER__LAME_DUCK_MS": "0", "ALFRED__EMBEDDING__MODELS_DIR": os.environ["ALFRED_MODELS"]}
    with open(work / "log", "w", encoding="utf-8") as log:
        process = subprocess.Popen([alfred(), "serve", "--config", str(work / "alfred.toml")], env=variables, cwd=work,
                                   stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError):
                if ask(f"{url}/readyz")[0] == 200:
                    break
            assert process.poll() is None and time.monotonic() < deadline, (work / "log").read_text()
            time.sleep(0.05)
        yield url
        process.send_signal(signal.SIGTERM)
        same(process.wait(PATIENCE_S), 0, "exit code at SIGTERM")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def run_container(rendered, pod, url, work, expect, more=()):
    """A client's container as a process, with another address of the Service."""
    container = pod["spec"]["containers"][0]
    variables = environment(rendered, container, "")
    variables["ALFRED__SOAK__RUNS_DIR"] = f"{work}/runs"
    command = [alfred(), *container["command"][1:]]
    for argument in container["args"]:
        for name, value in variables.items():
            argument = argument.replace(f"$({name})", value)
        command.append(argument.replace("http://core-agent-core:8080", url).replace("/etc/alfred/soak.d", str(work)).replace("/corpus", f"{work}/corpus"))
    done = subprocess.run([*command, *more], env=variables, cwd=work, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert done.returncode in expect, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout + done.stderr


@test
def the_pods_of_the_release_work_with_one_another_and_with_keys():
    given = nested(access__mode="keys", ingest={"enabled": True, "sources": ["/corpus/**/*.md"], "root": "/corpus"}, soak__enabled=True)
    rendered = Rendered(given)
    pods = {name.removeprefix("core-agent-core-").split("-")[0]: pod for name, pod in rendered.pods()}
    key = rendered.secret()["api_key"]
    question = {"query": "How do I upgrade the Helm chart?", "top_k": 3}
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "corpus/docs").mkdir(parents=True)
        (work / "corpus/docs/helm.md").write_text("# Helm\n\n## Upgrade the Helm chart\n\nRun `helm upgrade core alfred/agent-core`.\n")
        for file, text in rendered.one("ConfigMap", "soak")["data"].items():
            (work / file).write_text(text.replace("http://core-agent-core:8080", "URL").replace("/etc/alfred/soak.d", folder))
        with daemon(rendered, work) as url:
            scenario = work / "scenario.toml"
            scenario.write_text(scenario.read_text().replace("URL", url))
            run_container(rendered, pods["ingest"], url, work, [0])
            same(ask(f"{url}/v1/query", question)[0], 401, "without a key")
            status, body = ask(f"{url}/v1/query", question, key)
            assert status == 200 and "helm upgrade core alfred/agent-core" in json.loads(body)["answer"], body
            same(json.loads(body)["citations"][0]["source"], "docs/helm.md", "source, below the root")
            same(ask(f"{url}/metrics", key=key)[0], 200, "Prometheus with the release's key")
            said = run_container(rendered, pods["test"], url, work, [0])
            assert "helm upgrade core alfred/agent-core" in said, said
            # Whether it is quick enough is not asked here; that every request is let in is.
            run_container(rendered, pods["soak"], url, work, [0, 98, 99], ["--duration", "2s", "--warmup", "0s", "--window", "1s"])
            [verdict] = (work / "runs").glob("*/verdict.json")
            counts = json.loads(verdict.read_text())["counts"]
            assert counts["ok"] > 0 and counts["error"] == 0, counts


@test
def every_soak_scenario_is_understood():
    for name in ("soak CronJob", "soak CronJob, everything said"):
        data = Rendered(COMBINATIONS[name]).one("ConfigMap", "soak")["data"]
        with tempfile.TemporaryDirectory() as folder:
            for file, text in data.items():
                (pathlib.Path(folder) / file).write_text(text.replace("/etc/alfred/soak.d", folder))
            # Nobody listens there: each request fails, and that is all that is wrong.
            done = subprocess.run(
                [alfred(), "soak", f"{folder}/scenario.toml", "--target", f"http://127.0.0.1:{free_port()}/v1/query",
                 "--count", "5", "--window", "100ms", "--warmup", "0s", "--no-recorder", "--out", f"{folder}/run"],
                env={"PATH": os.environ["PATH"]}, cwd=folder, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            assert done.returncode in (98, 99), f"{name}: exit code {done.returncode}\n{done.stdout}{done.stderr}\n{data['scenario.toml']}"


@contextlib.contextmanager
def database(rendered, work):
    """The container of PostgreSQL as a process, with its parameters; answers host and port as words of a DSN."""
    programs = pathlib.Path(subprocess.run([ROOT / "scripts/postgres"], capture_output=True, text=True, timeout=600, check=True).stdout.strip())
    container = rendered.one("StatefulSet")["spec"]["template"]["spec"]["containers"][0]
    variables = environment(rendered, container, "")
    # A server refuses to run as root.
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
    data, port = work / "database", free_port()
    data.mkdir()
    (work / "password").write_text(variables["POSTGRES_PASSWORD"])
    for path in (work, data, work / "password"):
        if user:
            os.chown(path, 65534, 65534)
    subprocess.run([*user, programs / "initdb", "-D", data, "-U", variables["POSTGRES_USER"], "--auth=scram-sha-256",
                    f"--pwfile={work}/password", "--no-sync", "--no-locale", "-E", "UTF8"], check=True, capture_output=True, timeout=PATIENCE_S)
    with open(work / "database.log", "w", encoding="utf-8") as log:
        process = subprocess.Popen([*user, programs / "postgres", "-D", data, "-p", str(port), "-k", data, "-c", "fsync=off",
                                    "-c", "listen_addresses=127.0.0.1", *container["args"]], stdout=log, stderr=log)
    try:
        ready = [argument.replace("pg_isready", str(programs / "pg_isready")) for argument in container["readinessProbe"]["exec"]["command"]]
        deadline = time.monotonic() + PATIENCE_S
        while subprocess.run([*ready, "-p", str(port)], capture_output=True, timeout=PATIENCE_S, check=False).returncode != 0:
            assert process.poll() is None and time.monotonic() < deadline, (work / "database.log").read_text()
            time.sleep(0.1)
        subprocess.run([programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", variables["POSTGRES_USER"], variables["POSTGRES_DB"]],
                       env={"PGPASSWORD": variables["POSTGRES_PASSWORD"]}, check=True, capture_output=True, timeout=PATIENCE_S)
        yield f"host=127.0.0.1 port={port}"
    finally:
        process.send_signal(signal.SIGINT)  # a fast shutdown, as the image asks for
        process.wait(PATIENCE_S)


@test
def the_database_of_the_release_serves_and_takes_over_the_embedded_store():
    rendered = Rendered(COMBINATIONS["PostgreSQL in the release, password given"])
    with tempfile.TemporaryDirectory() as folder:
        work = pathlib.Path(folder)
        (work / "docs").mkdir()
        (work / "docs/old.md").write_text("# Moving\n\nWhat the embedded store held was copied by hand on a Tuesday.\n")
        base = {"PATH": os.environ["PATH"], "ALFRED__EMBEDDING__MODELS_DIR": os.environ["ALFRED_MODELS"]}
        subprocess.run([alfred(), "ingest", "docs", "--store", f"{folder}/old"], env=base, cwd=work, check=True, capture_output=True, timeout=PATIENCE_S)
        with tempfile.TemporaryDirectory() as place, database(rendered, pathlib.Path(place)) as words, daemon(rendered, work, words) as url:
            status, body = ask(f"{url}/v1/status")
            same((status, json.loads(body)["store"]["kind"]), (200, "postgres"), "store")
            # As docs/helm.md has it, by kubectl exec.
            variables = {**base, "CREDENTIALS_DIRECTORY": f"{folder}/credentials"}
            done = subprocess.run([alfred(), "store", "copy", "embedded", "postgres", "--store", f"{folder}/old", "--config", f"{folder}/alfred.toml"],
                                  env=variables, cwd=work, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            status, body = ask(f"{url}/v1/query", {"query": "When was the embedded store copied?"})
            assert status == 200 and "Tuesday" in json.loads(body)["answer"], body
