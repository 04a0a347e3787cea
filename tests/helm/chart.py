"""The chart as Helm's own engine reads and renders it."""

import base64
import functools
import json
import pathlib

import helm_python
import kubernetes_validate
import kubernetes_validate.utils
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "packaging/helm/agent-core"
# The oldest that Chart.yaml lets in, and the newest whose schemas are there.
KUBERNETES = ("1.27", "1.37")
# Kinds that are not Kubernetes' own: the operator of Prometheus brings them.
FOREIGN = ("ServiceMonitor", "PrometheusRule")


@functools.cache
def loaded():
    """The chart, read once."""
    return helm_python.Chart.load(CHART)


def values():
    """The chart's values.yaml."""
    return yaml.safe_load((CHART / "values.yaml").read_text())


def nested(**dotted):
    """Values from `a__b=1`: {"a": {"b": 1}}."""
    tree = {}
    for path, value in dotted.items():
        *parents, last = path.split("__")
        place = tree
        for name in parents:
            place = place.setdefault(name, {})
        place[last] = value
    return tree


class Rendered:
    """What Helm makes of some values."""

    def __init__(self, given=None, name="core", namespace="default"):
        texts = loaded().render(given or {}, name=name, namespace=namespace)
        self.notes = next(text for path, text in texts.items() if path.endswith("NOTES.txt"))
        manifests = (text for path, text in sorted(texts.items()) if path.endswith(".yaml"))
        self.objects = [one for text in manifests for one in yaml.safe_load_all(text) if one]

    def all(self, kind):
        """Every object of a kind."""
        return [one for one in self.objects if one["kind"] == kind]

    def one(self, kind, ending=""):
        """The object of a kind whose name ends like that."""
        found = [one for one in self.all(kind) if one["metadata"]["name"].endswith(ending)]
        if len(found) != 1:
            raise AssertionError(f"{len(found)} of {kind} …{ending}, not 1")
        return found[0]

    def pods(self):
        """The pod of every workload, with the name of that."""
        for one in self.objects:
            spec = one.get("spec", {})
            if one["kind"] == "Pod":
                yield one["metadata"]["name"], one
            elif one["kind"] == "CronJob":
                yield one["metadata"]["name"], spec["jobTemplate"]["spec"]["template"]
            elif "template" in spec:
                yield one["metadata"]["name"], spec["template"]

    def server(self):
        """The daemon's pod."""
        return self.one("Deployment")["spec"]["template"]["spec"]

    def configuration(self):
        """The text of alfred.toml."""
        return next(one["data"]["alfred.toml"] for one in self.all("ConfigMap") if "alfred.toml" in one["data"])

    def secret(self):
        """The chart's own Secret, in plain."""
        return {key: base64.b64decode(value).decode() for key, value in self.one("Secret")["data"].items()}


# Schemas are megabytes, and read anew for each object; the objects of many combinations are the same.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)
SOUND = set()


def check_schema(one):
    """Holds an object against the schemas of Kubernetes, which know every field."""
    text = json.dumps(one, sort_keys=True)
    if one["kind"] in FOREIGN or text in SOUND:
        return
    for version in KUBERNETES:
        try:
            kubernetes_validate.validate(one, version, strict=True)
        except kubernetes_validate.ValidationError as problem:
            place = ".".join(str(part) for part in problem.path)
            raise AssertionError(
                f"{one['kind']} {one['metadata']['name']}: {place}: {problem.message} (Kubernetes {version})"
            ) from problem
    SOUND.add(text)


def refused(given):
    """Helm's words for values that it does not take; fails when it takes them."""
    try:
        loaded().validate_schema(given)
        loaded().render(given, name="core", namespace="default")
    except helm_python.HelmError as problem:
        return str(problem)
    raise AssertionError(f"Helm takes {given}")
