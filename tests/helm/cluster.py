"""A stand-in for the API of Kubernetes: enough for Helm to install, upgrade, roll back and uninstall a release.

It keeps objects in memory and starts nothing. What it does take seriously is what an upgrade can fail at: it
holds every object against Kubernetes' schemas, and refuses changes of fields that cannot be changed. Loopback only,
no TLS, no authentication.
"""

import base64
import copy
import http.server
import json
import re
import threading
import urllib.parse
import uuid

import yaml
from chart import FOREIGN, check_schema

RESOURCES = {
    "v1": {"Namespace": "namespaces", "Pod": "pods", "Service": "services", "ConfigMap": "configmaps", "Secret": "secrets",
           "ServiceAccount": "serviceaccounts", "PersistentVolumeClaim": "persistentvolumeclaims", "Event": "events"},
    "apps/v1": {"Deployment": "deployments", "StatefulSet": "statefulsets", "ReplicaSet": "replicasets"},
    "batch/v1": {"Job": "jobs", "CronJob": "cronjobs"},
    "policy/v1": {"PodDisruptionBudget": "poddisruptionbudgets"},
    "autoscaling/v2": {"HorizontalPodAutoscaler": "horizontalpodautoscalers"},
    "networking.k8s.io/v1": {"NetworkPolicy": "networkpolicies", "Ingress": "ingresses"},
    "monitoring.coreos.com/v1": {"ServiceMonitor": "servicemonitors", "PrometheusRule": "prometheusrules"},
}
KIND_OF = {(version, plural): kind for version, kinds in RESOURCES.items() for kind, plural in kinds.items()}
# What cannot be changed, by kind: functions from an object to that part of it.
FIXED = {
    "Deployment": lambda one: one["spec"]["selector"],
    "StatefulSet": lambda one: {key: value for key, value in one["spec"].items()
                                if key not in ("replicas", "template", "updateStrategy", "minReadySeconds")},
    "Job": lambda one: (one["spec"]["template"], one["spec"].get("selector")),
    "PersistentVolumeClaim": lambda one: {key: value for key, value in one["spec"].items() if key != "resources"},
    "Service": lambda one: one["spec"].get("clusterIP"),
}
PATH = re.compile(r"^/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+/[^/]+))(?:/namespaces/(?P<namespace>[^/]+)(?=/))?"
                  r"/(?P<plural>[a-z]+)(?:/(?P<name>[^/]+))?$")


class Refused(Exception):
    """An answer that is not 2xx."""

    def __init__(self, code, reason, message):
        super().__init__(message)
        self.status = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message,
                       "reason": reason, "code": code}


def fields(data):
    """The fields of a protobuf message, by number: bytes of each, in order. Numbers are left out."""
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            value |= (data[at] & 0x7F) << shift
            at, shift = at + 1, shift + 7
            if not data[at - 1] & 0x80:
                return value

    while at < len(data):
        tag = varint()
        if tag & 7 == 2:
            length = varint()
            found.setdefault(tag >> 3, []).append(data[at:at + length])
            at += length
        else:
            varint()
    return found


def pairs(entries):
    """A map of protobuf."""
    return {entry.get(1, [b""])[0].decode(): entry.get(2, [b""])[0] for entry in map(fields, entries)}


def decoded(body):
    """An object as it is sent. Helm's records of releases, which are Secrets, come as protobuf."""
    if not body.startswith(b"k8s\0"):
        return json.loads(body)
    secret = fields(fields(body[4:])[2][0])
    metadata = fields(secret[1][0])
    return {"kind": "Secret", "apiVersion": "v1", "type": secret[3][0].decode(),
            "metadata": {"name": metadata[1][0].decode(), "labels": {key: value.decode() for key, value in pairs(metadata[11]).items()}},
            "data": {key: base64.b64encode(value).decode() for key, value in pairs(secret[2]).items()}}


def merged(old, patch):
    """A JSON merge patch, which stands for a strategic one: lists are replaced."""
    if not isinstance(patch, dict) or not isinstance(old, dict):
        return patch
    new = dict(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif not key.startswith("$"):
            new[key] = merged(new.get(key), value)
    return new


def matches(one, selector):
    """Whether an object has these labels: `a=b,c!=d,e in (f,g)`."""
    labels = one["metadata"].get("labels", {})
    for term in re.split(r",(?![^(]*\))", selector or ""):
        within = re.fullmatch(r"\s*(\S+)\s+in\s+\((.*)\)\s*", term)
        name, is_not, value = re.fullmatch(r"([^=!]*)(!?)=?=?(.*)", term).groups()
        if within:
            if labels.get(within[1]) not in [word.strip() for word in within[2].split(",")]:
                return False
        elif term and (labels.get(name) == value) == bool(is_not):
            return False
    return True


class Cluster:
    """The objects, and the server that speaks of them."""

    def __init__(self):
        self.objects = {}
        self.revision = 0
        self.calls = []
        self.lock = threading.Lock()
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        """Stops the server."""
        self.server.shutdown()
        self.server.server_close()

    def kubeconfig(self):
        """What Helm is given to find it."""
        return yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.url}}], "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test", "namespace": "default"}}]})

    def all(self, kind):
        """Every object of a kind, by name."""
        return {key[3]: one for key, one in self.objects.items() if KIND_OF[key[0], key[1]] == kind}

    def secret(self, name):
        """A Secret, in plain."""
        return {key: base64.b64decode(value).decode() for key, value in self.all("Secret")[name]["data"].items()}

    # --- what is asked ---

    def store(self, key, one, is_new):
        """Puts an object in place, or refuses it as the API would."""
        kind = KIND_OF[key[0], key[1]]
        old = self.objects.get(key)
        if is_new and old:
            raise Refused(409, "AlreadyExists", f"{key[1]} \"{key[3]}\" already exists")
        if kind not in FOREIGN and one.get("type") != "helm.sh/release.v1":
            bare = {field: value for field, value in one.items() if field != "status"}
            bare["metadata"] = {field: value for field, value in one["metadata"].items() if field != "managedFields"}
            try:
                check_schema(bare)
            except AssertionError as problem:
                raise Refused(422, "Invalid", str(problem)) from problem
        if old and kind in FIXED and FIXED[kind](old) != FIXED[kind](one):
            raise Refused(422, "Invalid", f"{kind} \"{key[3]}\" is invalid: spec: Forbidden: field is immutable")
        self.revision += 1
        one["metadata"] = {**one["metadata"], "namespace": key[2], "resourceVersion": str(self.revision),
                           "uid": old["metadata"]["uid"] if old else str(uuid.uuid4()),
                           "creationTimestamp": "2026-01-01T00:00:00Z"}
        self.objects[key] = one
        return one

    def patch(self, key, content_type, body, is_forced):
        """PATCH in its three kinds."""
        old = self.objects.get(key)
        if "apply-patch" in content_type:
            # One manager alone applies: what it leaves out goes.
            del is_forced
            new = yaml.safe_load(body)
            return self.store(key, new, False)
        if old is None:
            raise Refused(404, "NotFound", f"{key[1]} \"{key[3]}\" not found")
        return self.store(key, merged(copy.deepcopy(old), json.loads(body)), False)

    def answer(self, method, path, query, content_type, body):
        """The answer to one request."""
        plain = {"/version": {"major": "1", "minor": "37", "gitVersion": "v1.37.0"},
                 "/api": {"kind": "APIVersions", "versions": ["v1"]}, "/apis": groups(), "/openapi/v3": openapi_index(),
                 "/api/v1/namespaces/default": {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "default"}}}
        if path in plain:
            return plain[path]
        if path.startswith("/openapi/v3/"):
            return openapi(path.removeprefix("/openapi/v3/").removeprefix("apis/").removeprefix("api/"))
        version = path.removeprefix("/apis/").removeprefix("/api/")
        if version in RESOURCES:
            return resources(version)
        found = PATH.match(path)
        if not found or (found["core"] or found["group"], found["plural"]) not in KIND_OF:
            raise Refused(404, "NotFound", f"the server could not find {path}")
        key = (found["core"] or found["group"], found["plural"], found["namespace"] or "default", found["name"])
        if method == "GET" and not found["name"]:
            items = [one for place, one in self.objects.items() if place[:3] == key[:3] and matches(one, query.get("labelSelector"))]
            return {"kind": f"{KIND_OF[key[:2]]}List", "apiVersion": key[0], "metadata": {"resourceVersion": "1"}, "items": items}
        if method == "POST":
            one = decoded(body)
            return self.store((*key[:3], one["metadata"]["name"]), one, True)
        if method == "PATCH":
            return self.patch(key, content_type, body, query.get("force"))
        if key not in self.objects:
            raise Refused(404, "NotFound", f"{key[1]} \"{key[3]}\" not found")
        if method == "PUT":
            return self.store(key, decoded(body), False)
        if method == "DELETE":
            return self.objects.pop(key)
        return self.objects[key]

    def handler(self):
        """The class of http.server that asks this cluster."""
        cluster = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def serve(self):
                url = urllib.parse.urlsplit(self.path)
                query = {name: words[0] for name, words in urllib.parse.parse_qs(url.query).items()}
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                with cluster.lock:
                    try:
                        code, said = 200, cluster.answer(self.command, url.path, query, self.headers.get("content-type", ""), body)
                    except Refused as refusal:
                        code, said = refusal.status["code"], refusal.status
                    cluster.calls.append((self.command, url.path, code))
                data = json.dumps(said).encode()
                self.send_response(code)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = serve

        return Handler


def groups():
    """The groups of the API."""
    names = [version for version in RESOURCES if "/" in version]
    entries = [{"groupVersion": name, "version": name.split("/")[1]} for name in names]
    return {"kind": "APIGroupList", "apiVersion": "v1",
            "groups": [{"name": entry["groupVersion"].split("/")[0], "versions": [entry], "preferredVersion": entry} for entry in entries]}


def resources(version):
    """The resources of a version."""
    verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [
        {"name": plural, "singularName": kind.lower(), "namespaced": kind != "Namespace", "kind": kind, "verbs": verbs}
        for kind, plural in RESOURCES[version].items()]}


def place(version):
    """Where a version is, without the slash before it."""
    return f"apis/{version}" if "/" in version else f"api/{version}"


def openapi_index():
    """Where the descriptions of versions are."""
    return {"paths": {place(version): {"serverRelativeURL": f"/openapi/v3/{place(version)}?hash=1"} for version in RESOURCES}}


def openapi(version):
    """A description that says no more than that fields are validated by the server."""
    group, _, number = version.rpartition("/")
    paths = {}
    for kind, plural in RESOURCES.get(version, {}).items():
        operation = {"x-kubernetes-group-version-kind": {"group": group, "version": number, "kind": kind},
                     "parameters": [{"name": name, "in": "query"} for name in ("fieldValidation", "dryRun", "force")]}
        paths[f"/{place(version)}/namespaces/{{namespace}}/{plural}/{{name}}"] = {"patch": operation}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.37.0"}, "paths": paths}
