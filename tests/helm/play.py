"""Plays what Helm renders with `podman kube play`, and asks it. Called by tests/helm/kube-play:

    play.py FOLDER PODMAN...
"""

import contextlib
import json
import pathlib
import re
import subprocess
import sys
import textwrap
import time

import yaml
from chart import ROOT, Rendered, nested
from registry import same
from running import ask, free_port

PATIENCE_S = 120
IMAGE = nested(image={"repository": "localhost/alfred", "tag": "test", "pullPolicy": "Never"})
# What podman plays; the rest (Service, policies, budgets) is for a cluster.
PLAYED = ("Deployment", "ConfigMap", "Secret", "PersistentVolumeClaim")
TEXT = "# Charts\n\n## How do I upgrade the Helm chart?\n\nRun `helm upgrade core alfred/agent-core` with your values.\n"
QUESTION = {"query": "How do I upgrade the Helm chart?", "top_k": 3}


def as_config_map(rendered, volume):
    """The credentials as a ConfigMap, which this volume is of from now on: podman 4 knows no volumes of Secrets."""
    [source] = volume.pop("projected")["sources"]
    data = {item["path"]: rendered.secret()[item["key"]] for item in source["secret"]["items"]}
    volume["configMap"] = {"name": volume["name"]}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": volume["name"]}, "data": data}


class Player:
    """podman, with a folder of its own."""

    def __init__(self, folder, command):
        self.folder, self.command = pathlib.Path(folder), command

    def __call__(self, *arguments, check=True, feed=None):
        done = subprocess.run([*self.command, *arguments], input=feed, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        if check and done.returncode != 0:
            raise AssertionError(f"podman {' '.join(arguments)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout if check else done

    def write(self, rendered, port):
        """The manifest, with the port of the pod at one of this machine: nothing here makes a Service."""
        # A claim that is there already is used as it is; podman would want to make it.
        claims = self("volume", "ls", "--quiet").split()
        objects = [one for one in rendered.objects if one["kind"] in PLAYED and
                   (one["kind"] != "PersistentVolumeClaim" or one["metadata"]["name"] not in claims)]
        # A ConfigMap and a Secret before what mounts them.
        objects.sort(key=lambda one: one["kind"] == "Deployment")
        for one in list(objects):
            if one["kind"] == "Deployment":
                [container] = one["spec"]["template"]["spec"]["containers"]
                container["ports"][0].update(hostPort=port, hostIP="127.0.0.1")
                for volume in one["spec"]["template"]["spec"]["volumes"]:
                    if "projected" in volume:
                        objects.insert(0, as_config_map(rendered, volume))
        file = self.folder / "manifest.yaml"
        file.write_text(yaml.safe_dump_all(objects))
        return str(file)

    def container(self):
        """The daemon's container."""
        [name] = [name for name in self("ps", "--all", "--format", "{{.Names}}").split() if name.endswith("-alfred")]
        return name

    @contextlib.contextmanager
    def playing(self, rendered):
        """Plays it; answers its URL when it is ready. Afterwards the pod is gone and its claim is still there."""
        port = free_port()
        manifest = self.write(rendered, port)
        self("kube", "play", manifest)
        try:
            url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + PATIENCE_S
            while True:
                with contextlib.suppress(OSError):
                    if ask(f"{url}/readyz")[0] == 200:
                        break
                state = self("inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}", self.container())
                logs = self("logs", self.container(), check=False)
                assert state.startswith("running") and time.monotonic() < deadline, state + logs.stdout + logs.stderr
                time.sleep(0.2)
            yield url
        finally:
            self("kube", "down", manifest, check=False)


def said(words):
    """A line for what was seen."""
    print(f"ok      {words}", flush=True)


def anonymous(podman):
    """The defaults: a document goes in, a query is answered, and both are there after the pod was another one."""
    rendered = Rendered(IMAGE)
    with podman.playing(rendered) as url:
        said("the daemon of the chart's defaults gets ready")
        same(ask(f"{url}/healthz")[0], 200, "/healthz")
        status, body = ask(f"{url}/v1/documents", {"content": TEXT, "source": "docs/helm.md"})
        same(status, 200, body)
        status, body = ask(f"{url}/v1/query", QUESTION)
        assert status == 200 and "helm upgrade core alfred/agent-core" in json.loads(body)["answer"], body
        said("a document is ingested, and a query is answered with it")
        name = podman.container()
        answer = podman("exec", name, "alfred", "query", QUESTION["query"])
        assert "helm upgrade core alfred/agent-core" in answer, answer
        same(podman("exec", name, "id", "-u").strip(), "10001", "user")
        for place in ("/usr/bin/x", "/etc/alfred/x", "/x"):
            assert podman("exec", name, "touch", place, check=False).returncode != 0, f"{place} can be written"
        capabilities = podman("exec", name, "grep", "CapEff", "/proc/1/status").split()[1]
        same(int(capabilities, 16), 0, "capabilities")
        said("it is not root, has no capability, and writes no file of its image; kubectl exec's alfred reaches it")
        podman("exec", name, "alfred", "store", "backup", "/var/lib/alfred/restore.db")
        # What comes after the backup is gone once it is restored.
        ask(f"{url}/v1/documents", {"content": "# Later\n\nThis came after the backup.\n", "source": "docs/later.md"})
        assert len(podman("exec", name, "alfred", "store", "check")) > 0
        memory = podman("exec", name, "grep", "VmHWM", "/proc/1/status").split()[1:]
        said(f"a backup is written while it serves; the daemon took at most {' '.join(memory)}")
        grace = rendered.server()["terminationGracePeriodSeconds"]
        begin = time.monotonic()
        podman("stop", "--time", str(grace), name)
        took = time.monotonic() - begin
        same(podman("inspect", "--format", "{{.State.ExitCode}}", name).strip(), "0", "exit code of a stop")
        assert 5 <= took < grace, f"it took {took:.1f} s to stop"
        said(f"it stops in order in {took:.1f} s, of which 5 s are its lame duck")
    # The pod of docs/helm.md that restores, with the same user and claim.
    [pod] = re.findall(r"<<'POD'\n(.*?)\n    POD\n", (ROOT / "docs/helm.md").read_text(), re.DOTALL)
    container = yaml.safe_load(textwrap.dedent(pod))["spec"]["containers"][0]
    podman("run", "--rm", "--user", "10001:10001", "--volume", "core-agent-core:/var/lib/alfred", "localhost/alfred:test", *container["command"])
    said("the pod of docs/helm.md restores the backup")
    with podman.playing(rendered) as url:
        documents = json.loads(ask(f"{url}/v1/documents")[1])["documents"]
        same([document["source"] for document in documents], ["docs/helm.md"], "documents after the backup was restored")
        status, body = ask(f"{url}/v1/query", QUESTION)
        same((status, json.loads(body)["citations"][0]["source"]), (200, "docs/helm.md"), "after another pod took over the claim")
    said("another pod answers from the same claim")
    podman("volume", "rm", "--all", "--force")


def keyed(podman):
    """With keys: nobody comes in without, and the key that the chart made does."""
    rendered = Rendered({**IMAGE, **nested(access__mode="keys", persistence__enabled=False)})
    with podman.playing(rendered) as url:
        same(ask(f"{url}/v1/query", QUESTION)[0], 401, "without a key")
        same(ask(f"{url}/v1/query", QUESTION, "alfred_wrong")[0], 401, "with a wrong key")
        same(ask(f"{url}/v1/query", QUESTION, rendered.secret()["api_key"])[0], 200, "with the release's key")
        same(ask(f"{url}/readyz")[0], 200, "a probe needs no key")
    said("with access.mode=keys nobody comes in without the key that the chart made")


def main(folder, *command):
    """See above."""
    podman = Player(folder, command)
    try:
        anonymous(podman)
        keyed(podman)
    except AssertionError as problem:
        print(f"FAIL    {problem}")
        return 1
    print("\nplayed with podman")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
