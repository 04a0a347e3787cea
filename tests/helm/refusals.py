"""What the chart refuses, and with which words."""

from chart import loaded, nested, refused
from combinations import INTERNAL, SHA256
from registry import test

ANYBODY = nested(access__mode="anonymous")
# Values, and what has to be in Helm's answer: what is wrong, and what to do.
REFUSED = [
    (nested(replicaCount=2), ["replicaCount is 2", "one file for one pod", "store.kind=postgres"]),
    (nested(autoscaling__enabled=True), ["autoscaling.enabled", "one file for one pod", "store.kind=postgres"]),
    (nested(postgresql__enabled=True), ["store.kind is embedded", "store.kind=postgres"]),
    (nested(secrets__postgresDsn="postgresql://db/a"), ["store.kind is embedded", "store.kind=postgres"]),
    (nested(store__kind="postgres"), ["no database is named", "postgresql.enabled=true"]),
    ({**INTERNAL, "secrets": {"postgresDsn": "postgresql://db/a"}}, ["two databases"]),
    ({**INTERNAL, "autoscaling": {"enabled": True, "minReplicas": 9}}, ["minReplicas is 9 and maxReplicas 6"]),
    ({**INTERNAL, "autoscaling": {"enabled": True}, "resources": {"requests": {"cpu": None}}}, ["resources.requests.cpu"]),
    (nested(service__type="LoadBalancer"), ["service.type LoadBalancer", "access.mode=keys"]),
    (nested(ingress={"enabled": True, "hosts": ["a.example"]}), ["ingress.enabled", "access.mode=keys"]),
    (nested(access__mode="keys", ingress__enabled=True), ["ingress.hosts is empty"]),
    (nested(access__mode="keys", ingress={"enabled": True, "hosts": ["a.example"]}), ["no ingress controller", "networkPolicy.extraFrom"]),
    (nested(access__keys=[{"name": "a", "role": "query", "sha256": SHA256}]), ["access.mode is anonymous"]),
    (nested(access__mode="keys", access__existingSecret="k", access__keys=[{"name": "a", "role": "query", "sha256": SHA256}]), ["two sets of keys"]),
    (nested(access__mode="keys", access__existingSecret="k", soak__enabled=True), ["access.clientSecret"]),
    (nested(access__mode="keys", access__clientSecret="k"), ["access.existingSecret"]),
    (nested(terminationGracePeriodSeconds=30), ["up to 35 s", "drain_timeout_s"]),
    (nested(config__embedding={"kind": "openai"}), ["no key of the provider", "secrets.openaiApiKey"]),
    (nested(ingest__enabled=True), ["ingest.sources is empty"]),
    # By the schema.
    (nested(replicas=2), ["replicas"]),
    (nested(replicaCount="two"), ["replicaCount"]),
    (nested(store__kind="mysql"), ["/store/kind"]),
    (nested(config__server={"max_inflight": 1}), ["max_inflight"]),
    (nested(config__server={"listen": ["0.0.0.0:80"]}), ["listen"]),
    (nested(config__server={"max_in_flight": 0}), ["max_in_flight"]),
    (nested(config__embedding={"api_key": "sk"}), ["api_key"]),
    (nested(config__servers={}), ["servers"]),
    (nested(image__owner="some/body"), ["/image/owner"]),
    (nested(image__tag="a:b"), ["/image/tag"]),
    (nested(access__mode="keys", access__keys=[{"name": "a", "role": "root", "sha256": SHA256}]), ["role"]),
    (nested(access__mode="keys", access__keys=[{"name": "a", "role": "query", "sha256": "alfred_plain"}]), ["sha256"]),
    (nested(access__mode="keys", access__keys=[{"name": "it's", "role": "query", "sha256": SHA256}]), ["name"]),
    (nested(access__mode="keys", access__keys=[{"name": "helm-release", "role": "query", "sha256": SHA256}]), ["name"]),
    (nested(runAsUser=0), ["runAsUser"]),
    (nested(persistence__accessModes=["ReadOnlyMany"]), ["accessModes"]),
    (nested(persistence__size="10 GB"), ["size"]),
    (nested(soak__schedule="nightly"), ["schedule"]),
    (nested(soak__queries=["two\nlines"]), ["queries"]),
    (nested(podDisruptionBudget__maxUnavailable=0), ["maxUnavailable"]),
    (nested(postgresql={"auth": {"username": "o'hara"}}), ["username"]),
]


@test
def what_does_not_go_together_is_refused_with_what_to_do():
    for given, words in REFUSED:
        said = refused(given)
        for word in words:
            assert word in said, f"{given}: {word!r} is not in:\n{said}"
    return f"{len(REFUSED)} refusals"


@test
def a_refusal_is_the_chart_s_own_and_not_an_accident():
    for given, _ in REFUSED:
        said = refused(given)
        assert "nil pointer" not in said and "error calling" not in said.replace("error calling include", "").replace("error calling fail", ""), said
    loaded().render({}, name="core", namespace="default")
