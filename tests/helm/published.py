"""The chart as others get it: a repository that a web server serves, and Helm, which installs from there."""

import contextlib
import functools
import hashlib
import http.server
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import threading

import helm_python
import yaml
from chart import CHART, ROOT
from cluster import Cluster
from combinations import COMBINATIONS
from registry import Skip, same, test

PATIENCE_S = 60
OWNER = "example-owner"


def run(*command, env=None, expect=0):
    """Runs a program in bounded time; answers what it printed."""
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    if done.returncode != expect:
        raise AssertionError(f"{' '.join(map(str, command))}: exit code {done.returncode}, not {expect}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def publish(folder, chart=CHART, owner=OWNER, expect=0):
    """scripts/helm-repo, with a fixed time as that of the commit."""
    env = {**os.environ, "SOURCE_DATE_EPOCH": "1764547200"}
    return run("scripts/helm-repo", str(folder), "--owner", owner, "--chart", str(chart), env=env, expect=expect)


def version_of(chart, folder, version, **replaced):
    """A copy of the chart with another version, and other words in its templates."""
    copy = pathlib.Path(folder) / f"chart-{version}"
    shutil.copytree(chart, copy)
    about = copy / "Chart.yaml"
    about.write_text(re.sub(r"(?m)^(version|appVersion): .*$", rf'\1: "{version}"', about.read_text()))
    for file, (before, after) in replaced.items():
        path = copy / "templates" / f"{file}.yaml"
        assert before in path.read_text(), (file, before)
        path.write_text(path.read_text().replace(before, after))
    return copy


@contextlib.contextmanager
def served(folder):
    """The folder, as any web server serves it; answers its URL."""
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@test
def the_repository_has_the_package_its_digest_and_the_owner_of_the_image():
    with tempfile.TemporaryDirectory() as work:
        publish(work)
        index = yaml.safe_load((pathlib.Path(work) / "index.yaml").read_text())
        [entry] = index["entries"]["agent-core"]
        about = yaml.safe_load((CHART / "Chart.yaml").read_text())
        package = pathlib.Path(work) / entry["urls"][0]
        same(entry["digest"], hashlib.sha256(package.read_bytes()).hexdigest(), "digest")
        same({key: entry[key] for key in about}, about, "Chart.yaml in the index")
        same(entry["created"], "2025-12-01T00:00:00Z", "the time of the commit")
        with helm_python.Chart.load(package) as chart:
            same(chart.values["image"]["owner"], OWNER, "owner")
            assert chart.schema and "README.md" in [file["name"] for file in chart.files]
            same(sorted(one["name"] for one in chart.templates), sorted(str(path.relative_to(CHART)) for path in (CHART / "templates").rglob("*.*")), "templates")
            text = chart.render({}, name="core", namespace="default")["agent-core/templates/deployment.yaml"]
            assert f'image: "ghcr.io/{OWNER}/alfred:' in text, text


@test
def the_same_commit_gives_the_same_bits_and_other_content_another_version():
    with tempfile.TemporaryDirectory() as work:
        first, second = pathlib.Path(work) / "1", pathlib.Path(work) / "2"
        publish(first)
        publish(second)
        for name in sorted(path.name for path in first.iterdir()):
            same((first / name).read_bytes(), (second / name).read_bytes(), name)
        publish(first)  # once more changes nothing
        said = publish(first, owner="another-owner", expect=1)
        assert "is there with other content" in said and "raise the version" in said, said
        old = version_of(CHART, work, "0.8.0")
        publish(first, chart=old)
        index = yaml.safe_load((first / "index.yaml").read_text())
        versions = [entry["version"] for entry in index["entries"]["agent-core"]]
        same(versions, ["0.9.0", "0.8.0"], "older versions stay, the newest is first")
        broken = version_of(CHART, work, "0.7.0", service=("spec:\n", "spec:\n  {{ fail \"broken\" }}\n"))
        said = publish(first, chart=broken, expect=1)
        assert "broken" in said and not (first / "agent-core-0.7.0.tgz").exists(), said


@test
def nothing_is_published_for_an_owner_that_nobody_named():
    with tempfile.TemporaryDirectory() as work:
        env = {**os.environ, "GIT_DIR": work}
        said = run("scripts/helm-repo", f"{work}/charts", env=env, expect=1)
        assert "nothing says who publishes the image" in said and "--owner" in said, said


@test
def helm_s_engine_pulls_from_the_repository():
    with tempfile.TemporaryDirectory() as work:
        publish(f"{work}/charts")
        with served(f"{work}/charts") as url:
            pulled = helm_python.pull("agent-core", repo_url=url, destination=work)
        [package] = pathlib.Path(work).glob("*.tgz")
        same(package.read_bytes(), (pathlib.Path(work) / "charts" / package.name).read_bytes(), str(pulled))


class Helm:
    """The program helm, with folders of its own."""

    def __init__(self, work, kubeconfig=""):
        try:
            self.program = run("scripts/helm-binary").strip().splitlines()[-1]
        except AssertionError as problem:
            if "there is no helm to fetch" in str(problem):
                raise Skip("there is no helm for this machine") from problem
            raise
        file = pathlib.Path(work) / "kubeconfig"
        file.write_text(kubeconfig)
        self.env = {"PATH": os.environ["PATH"], "HOME": work, "KUBECONFIG": str(file), "HELM_NO_PLUGINS": "1"}

    def __call__(self, line, *more, expect=0):
        return run(self.program, *line.split(), *more, env=self.env, expect=expect)


@test
def helm_adds_the_repository_finds_the_chart_and_would_install_it():
    with tempfile.TemporaryDirectory() as work:
        publish(f"{work}/charts", chart=version_of(CHART, work, "0.8.0"))
        publish(f"{work}/charts")
        helm = Helm(work)
        with served(f"{work}/charts") as url:
            helm(f"repo add alfred {url}")
            helm("repo update")
            found = helm("search repo alfred/agent-core -l")
            assert re.search(r"alfred/agent-core\s+0\.9\.0\s", found) and "0.8.0" in found, found
            said = helm("install core alfred/agent-core --dry-run=client")
            assert "kind: Deployment" in said and "helm upgrade core alfred/agent-core" in said, said
            said = helm("install core alfred/agent-core --dry-run=client --set replicaCount=2", expect=1)
            assert "one file for one pod" in said, said
            assert "version: 0.8.0" in helm("show chart alfred/agent-core --version 0.8.0")
        return helm("version --short").strip()


@contextlib.contextmanager
def installed_repository():
    """Helm with the repository added, which has 0.8.0 and 0.9.0, and a cluster."""
    cluster = Cluster()
    try:
        with tempfile.TemporaryDirectory() as work:
            publish(f"{work}/charts", chart=version_of(CHART, work, "0.8.0"))
            publish(f"{work}/charts")
            helm = Helm(work, cluster.kubeconfig())
            with served(f"{work}/charts") as url:
                helm(f"repo add alfred {url}")
                yield helm, cluster, pathlib.Path(work)
    finally:
        cluster.close()


@test
def helm_installs_upgrades_rolls_back_and_uninstalls():
    with installed_repository() as (helm, cluster, work):
        helm("install core alfred/agent-core --version 0.8.0 --set config.log.level=debug")
        image = lambda: cluster.all("Deployment")["core-agent-core"]["spec"]["template"]["spec"]["containers"][0]["image"]
        same(image(), f"ghcr.io/{OWNER}/alfred:0.8.0", "installed")
        # As docs/helm.md says it.
        values = work / "values.yaml"
        values.write_text(helm("get values core -o yaml"))
        same(yaml.safe_load(values.read_text()), {"config": {"log": {"level": "debug"}}}, "the values in use")
        helm("upgrade core alfred/agent-core --dry-run=server", "-f", str(values))
        same(image(), f"ghcr.io/{OWNER}/alfred:0.8.0", "a dry run changes nothing")
        helm("upgrade core alfred/agent-core", "-f", str(values))
        same(image(), f"ghcr.io/{OWNER}/alfred:0.9.0", "upgraded")
        assert 'level = "debug"' in cluster.all("ConfigMap")["core-agent-core"]["data"]["alfred.toml"], "values are kept"
        helm("rollback core")
        same(image(), f"ghcr.io/{OWNER}/alfred:0.8.0", "rolled back")
        history = helm("history core")
        assert len(re.findall(r"(?m)^\d", history)) == 3 and "Rollback to 1" in history, history
        helm("uninstall core")
        same(sorted(kind for key, one in cluster.objects.items() for kind in [one["kind"]] if kind != "Secret"),
             ["PersistentVolumeClaim"], "the documents stay, nothing else does")
        # And a release of the same name takes them up again.
        helm("install core alfred/agent-core")
        same(list(cluster.all("PersistentVolumeClaim")), ["core-agent-core"], "claim")


@test
def an_upgrade_keeps_the_password_and_the_key_that_were_made():
    with installed_repository() as (helm, cluster, work):
        options = "--set store.kind=postgres --set postgresql.enabled=true --set access.mode=keys --set soak.enabled=true"
        helm(f"install core alfred/agent-core --version 0.8.0 {options} --set ingest.enabled=true --set ingest.sources={{/corpus}}")
        before = cluster.secret("core-agent-core")
        jobs = set(cluster.all("Job"))
        helm("upgrade core alfred/agent-core --reset-then-reuse-values --set replicaCount=3")
        same(cluster.secret("core-agent-core"), before, "password, DSN, key, hash")
        same(cluster.all("Deployment")["core-agent-core"]["spec"]["replicas"], 3, "pods")
        assert len(cluster.all("Job")) == 1 and set(cluster.all("Job")) != jobs, "another version ingests anew"
        helm("uninstall core")
        # The claim of a StatefulSet stays in a cluster, and the password has to fit it.
        helm(f"install core alfred/agent-core {options}")
        after = cluster.secret("core-agent-core")
        same(after["postgres_password"], before["postgres_password"], "password after the release was installed anew")


# One after the other, of one release: store, names, claims, Jobs and what is optional come and go.
UPGRADES = ("defaults", "every section of the configuration", "PostgreSQL in the release", "HPA", "keys, made by the chart", "ingest Job",
            "soak CronJob, everything said", "defaults")


@test
def no_upgrade_changes_what_cannot_be_changed():
    with installed_repository() as (helm, cluster, work):
        for name in UPGRADES:
            values = work / "values.yaml"
            values.write_text(yaml.safe_dump(COMBINATIONS[name]))
            try:
                helm("upgrade --install core alfred/agent-core", "-f", str(values))
            except AssertionError as problem:
                raise AssertionError(f"{name}: {problem}") from problem
        refusals = [call for call in cluster.calls if call[2] == 422]
        same(refusals, [], "what the API refused")
        same(list(cluster.all("PersistentVolumeClaim")), ["core-agent-core"], "the claim is still there")
        return f"{len(UPGRADES)} upgrades in a row"
