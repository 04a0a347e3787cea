"""What Helm makes of the chart: valid for Kubernetes, of one piece, confined, and what each value says."""

import json
import re

import helm_python
import yaml
from chart import CHART, FOREIGN, KUBERNETES, Rendered, check_schema, nested
from combinations import COMBINATIONS, EXTERNAL, INTERNAL, KEYS, SHA256
from registry import same, test

# What is there in a cluster that the values speak of.
ELSEWHERE = {"pg", "alfred-credentials", "alfred-env", "alfred-keys", "alfred-client", "db", "s3", "corpus", "runs",
             "documents", "models", "mine", "default"}


def referred(pod):
    """What a pod needs from its namespace, as (kind, name)."""
    spec = pod["spec"]
    yield "ServiceAccount", spec["serviceAccountName"]
    for volume in spec.get("volumes", []):
        sources = volume["projected"]["sources"] if "projected" in volume else [volume]
        for source in sources:
            if "configMap" in source:
                yield "ConfigMap", source["configMap"]["name"]
            if "secret" in source:
                yield "Secret", source["secret"].get("secretName") or source["secret"]["name"]
            if "persistentVolumeClaim" in source:
                yield "PersistentVolumeClaim", source["persistentVolumeClaim"]["claimName"]
    for container in spec["containers"]:
        for variable in container.get("env", []):
            reference = variable.get("valueFrom", {}).get("secretKeyRef")
            if reference:
                yield "Secret", reference["name"]
        for source in container.get("envFrom", []):
            yield "Secret", source["secretRef"]["name"]


def check_confined(name, pod):
    """The profile "restricted" of Pod Security Standards, and a root file system that nobody writes."""
    spec = pod["spec"]
    wanted = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    same({key: spec["securityContext"].get(key) for key in wanted}, wanted, f"pod of {name}")
    assert spec["securityContext"]["runAsUser"] > 0, name
    same(spec["automountServiceAccountToken"], False, f"token of the API in the pod of {name}")
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
    for volume in spec.get("volumes", []):
        assert "hostPath" not in volume, f"{name}: {volume}"
    for container in spec["containers"] + spec.get("initContainers", []):
        same(container["securityContext"],
             {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
             f"container of {name}")


def check_of_one_piece(rendered):
    """Whatever an object names is there: labels, volumes, ports, Secrets."""
    there = {(one["kind"], one["metadata"]["name"]) for one in rendered.objects}
    same(len(there), len(rendered.objects), "two objects of one name")
    labels = [pod["metadata"].get("labels", {}) for _, pod in rendered.pods()]
    ports = {port["name"] for _, pod in rendered.pods() for one in pod["spec"]["containers"] for port in one.get("ports", [])}
    for one in rendered.objects:
        name, spec = one["metadata"]["name"], one.get("spec", {})
        assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name) and len(name) <= (52 if one["kind"] == "CronJob" else 63), name
        same(one["metadata"]["namespace"], "default", f"namespace of {name}")
        selector = spec.get("selector", {}) if one["kind"] not in ("Job",) else {}
        selector = selector.get("matchLabels", selector) or spec.get("podSelector", {}).get("matchLabels", {})
        if selector and one["kind"] != "ServiceMonitor":
            assert any(selector.items() <= of.items() for of in labels), f"{one['kind']} {name} selects no pod: {selector}"
        if one["kind"] == "Service":
            assert all(port["targetPort"] in ports for port in spec["ports"]), name
        for rule in spec.get("ingress", []) + spec.get("egress", []) if one["kind"] == "NetworkPolicy" else []:
            for port in rule["ports"]:
                assert isinstance(port["port"], int) or port["port"] in ports, f"{name}: {port}"
            for peer in rule.get("from", []) + rule.get("to", []):
                wanted = peer.get("podSelector", {}).get("matchLabels", {})
                if "app.kubernetes.io/name" in wanted:
                    assert any(wanted.items() <= of.items() for of in labels), f"{name} lets nobody in: {wanted}"
    for name, pod in rendered.pods():
        mounted = {mount["name"] for one in pod["spec"]["containers"] for mount in one["volumeMounts"]}
        claimed = {"data"} if "postgresql" in name else set()
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        same(mounted, volumes | claimed if claimed else volumes, f"volumes of {name}")
        for need in referred(pod):
            assert need in there or need[1] in ELSEWHERE, f"{name} needs {need}, which nobody makes"


@test
def every_combination_is_valid_for_kubernetes_of_one_piece_and_confined():
    count = 0
    for name, given in COMBINATIONS.items():
        try:
            rendered = Rendered(given)
            for one in rendered.objects:
                check_schema(one)
                count += one["kind"] not in FOREIGN
            check_of_one_piece(rendered)
            for workload, pod in rendered.pods():
                check_confined(workload, pod)
        except (AssertionError, helm_python.HelmError) as problem:
            raise AssertionError(f"{name}: {problem}") from problem
    return f"{len(COMBINATIONS)} combinations, {count} objects, Kubernetes {' and '.join(KUBERNETES)}"


@test
def a_wrong_field_does_not_pass():
    service = Rendered().one("Service")
    service["spec"]["ports"][0]["targetPorts"] = "http"
    try:
        check_schema(service)
    except AssertionError as problem:
        assert "targetPorts" in str(problem), problem
        return
    raise AssertionError("the schemas of Kubernetes take a field that there is not")


@test
def helm_finds_no_fault():
    for name, given in COMBINATIONS.items():
        report = helm_python.lint(CHART, given, strict=True)
        worse = [one for one in report["messages"] if one["severity"] > 1]
        assert not worse, f"{name}: {worse}"


@test
def the_version_before_and_after_kubernetes_127_is_told_apart():
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    same(about["kubeVersion"], f">={KUBERNETES[0]}.0-0", "the oldest Kubernetes, which is tested")


@test
def by_default_it_is_one_pod_with_a_claim_that_stays():
    rendered = Rendered()
    deployment = rendered.one("Deployment")["spec"]
    same((deployment["replicas"], deployment["strategy"]), (1, {"type": "Recreate"}), "one pod, never two")
    claim = rendered.one("PersistentVolumeClaim")
    same(claim["metadata"]["annotations"], {"helm.sh/resource-policy": "keep"}, "the documents outlive the release")
    volumes = {volume["name"]: volume for volume in rendered.server()["volumes"]}
    same(volumes["data"]["persistentVolumeClaim"]["claimName"], claim["metadata"]["name"], "claim")
    for kind in ("Secret", "HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob", "ServiceMonitor", "PrometheusRule", "Ingress"):
        same(rendered.all(kind), [], kind)
    same(rendered.server()["containers"][0]["image"], "ghcr.io/alfred/alfred:0.9.0", "image")


@test
def probes_ask_healthz_and_readyz():
    container = Rendered(nested(probes__startup__timeoutSeconds=601)).server()["containers"][0]
    paths = {probe: container[probe]["httpGet"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    same(paths, {"startupProbe": {"path": "/healthz", "port": "http"}, "livenessProbe": {"path": "/healthz", "port": "http"},
                 "readinessProbe": {"path": "/readyz", "port": "http"}}, "probes")
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= 601, startup


@test
def a_stop_has_the_time_that_lame_duck_and_drain_take():
    def grace(**values):
        return Rendered(nested(**values)).server()["terminationGracePeriodSeconds"]

    same(grace(), 45, "5 s lame duck, 30 s drain, 10 s more")
    same(grace(config__server={"drain_timeout_s": 300, "lame_duck_ms": 10500}), 321, "from the configuration")
    same(grace(terminationGracePeriodSeconds=600), 600, "as said")
    assert "lame_duck_ms = 5000\n" in Rendered().configuration() + "\n"


@test
def a_change_of_configuration_or_secrets_starts_new_pods_and_nothing_else_does():
    def annotations(**values):
        return Rendered(nested(**values)).one("Deployment")["spec"]["template"]["metadata"]["annotations"]

    base = annotations()
    assert annotations(config__log={"level": "debug"})["checksum/config"] != base["checksum/config"]
    assert annotations(secrets__openaiApiKey="sk")["checksum/secrets"] != base["checksum/secrets"]
    same(annotations(service__port=80), base, "another port")
    # What is made at random must not be in the checksums: pods would restart at every upgrade.
    same(annotations(access__mode="keys"), annotations(access__mode="keys"), "the same values twice")
    assert "checksum/config" not in annotations(restartOnChange=False)


@test
def with_postgresql_there_may_be_many_pods_and_an_autoscaler():
    rendered = Rendered(COMBINATIONS["HPA"])
    deployment = rendered.one("Deployment")
    assert "replicas" not in deployment["spec"], "an upgrade would undo the autoscaler's number"
    same(deployment["spec"]["strategy"], {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}, "strategy")
    scaler = rendered.one("HorizontalPodAutoscaler")["spec"]
    same(scaler["scaleTargetRef"], {"apiVersion": "apps/v1", "kind": "Deployment", "name": deployment["metadata"]["name"]}, "target")
    same((scaler["minReplicas"], scaler["maxReplicas"]), (3, 9), "pods")
    same(rendered.all("PersistentVolumeClaim"), [], "claims of the daemon")
    same(Rendered({**EXTERNAL, "replicaCount": 3}).one("Deployment")["spec"]["replicas"], 3, "pods")


@test
def the_database_of_the_release_and_the_daemon_have_the_same_password():
    for name in ("PostgreSQL in the release", "PostgreSQL in the release, password given"):
        rendered = Rendered(COMBINATIONS[name])
        secret = rendered.secret()
        quoted = re.search(r"password='((?:\\.|[^'\\])*)'", secret["postgres_dsn"])[1]
        same(re.sub(r"\\(.)", r"\1", quoted), secret["postgres_password"], name)
        same(rendered.one("Secret")["metadata"]["annotations"], {"helm.sh/resource-policy": "keep"}, "kept with the claim")
        database = rendered.one("StatefulSet")["spec"]["template"]["spec"]["containers"][0]
        environment = {one["name"]: one for one in database["env"]}
        same(environment["POSTGRES_PASSWORD"]["valueFrom"]["secretKeyRef"], {"name": "core-agent-core", "key": "postgres_password"}, name)
        # The daemon sees the DSN, and no more than it needs.
        credentials = {volume["name"]: volume for volume in rendered.server()["volumes"]}["credentials"]
        items = credentials["projected"]["sources"][0]["secret"]["items"]
        same([item["path"] for item in items], ["postgres_dsn"], "what the daemon sees")
    password = Rendered(INTERNAL).secret()["postgres_password"]
    assert len(password) == 32 and password != Rendered(INTERNAL).secret()["postgres_password"], "made at random"


@test
def the_key_that_the_chart_makes_comes_in_and_stands_beside_those_of_others():
    import hashlib
    import tomllib
    rendered = Rendered(COMBINATIONS["keys, hashed in the values"])
    secret = rendered.secret()
    keys = {key["name"]: key for key in tomllib.loads(secret["api_keys"])["key"]}
    same(keys["helm-release"], {"name": "helm-release", "role": "write", "sha256": hashlib.sha256(secret["api_key"].encode()).hexdigest()}, "its own")
    same(keys["app"], {"name": "app", "role": "query", "sha256": SHA256, "collections": ["handbook", "faq"]}, "a key of the values")
    same(keys["Ops_2.eu-1"]["role"], "admin", "another")
    assert re.fullmatch(r"alfred_[A-Za-z0-9]{43}", secret["api_key"]), secret["api_key"]
    items = rendered.server()["volumes"][-1]["projected"]["sources"][0]["secret"]["items"]
    same([item["path"] for item in items], ["api_keys"], "the daemon sees hashes, and no key in plain")
    assert "allow_anonymous = false" in rendered.configuration()
    assert "allow_anonymous = true" in Rendered().configuration()


@test
def jobs_and_prometheus_show_a_key_where_one_is_needed():
    everything = {"ingest": {"enabled": True, "sources": ["/corpus"]}, "soak": {"enabled": True}, "serviceMonitor": {"enabled": True}}
    own = {"name": "core-agent-core", "key": "api_key"}
    for given, wanted in ((KEYS, own), (COMBINATIONS["keys, in an existing Secret"], {"name": "alfred-client", "key": "key"})):
        rendered = Rendered({**given, **everything})
        for ending in ("ingest", "soak", "test"):
            [pod] = [pod for name, pod in rendered.pods() if ending in name.split("agent-core")[1]]
            [variable] = [one for one in pod["spec"]["containers"][0]["env"] if one["name"] == "ALFRED_API_KEY"]
            same(variable["valueFrom"]["secretKeyRef"], wanted, ending)
        endpoint = rendered.one("ServiceMonitor")["spec"]["endpoints"][0]
        same(endpoint["authorization"], {"type": "Bearer", "credentials": wanted}, "Prometheus")
        assert "Authorization: Bearer $(ALFRED_API_KEY)" in json.dumps(rendered.one("CronJob"))
    assert "ALFRED_API_KEY" not in json.dumps(Rendered(everything).objects), "without keys none is shown"


def ports(policy, direction):
    """Port numbers and names that a policy lets through."""
    return {port["port"] for rule in policy["spec"].get(direction) or [] for port in rule["ports"]}


@test
def the_network_policy_lets_only_through_what_is_needed():
    alone = Rendered().one("NetworkPolicy")
    same(alone["spec"]["policyTypes"], ["Ingress", "Egress"], "both ways")
    same(alone["spec"]["egress"], [], "store and model are in the pod: it asks nobody")
    same(alone["spec"]["ingress"], [{"ports": [{"port": "http", "protocol": "TCP"}], "from": [{"podSelector": {}}]}], "pods of the namespace")

    rendered = Rendered(COMBINATIONS["a provider, Redis, a collector"])
    server = rendered.one("NetworkPolicy", "agent-core")
    same(ports(server, "egress"), {53, 443, 6380, 4318}, "provider, Redis, collector, names")
    same(ports(rendered.one("NetworkPolicy", "soak"), "egress"), {53, "http", 443}, "the webhook")
    elsewhere = Rendered(COMBINATIONS["PostgreSQL elsewhere, by DSN"]).one("NetworkPolicy")
    same(ports(elsewhere, "egress"), {53, 6432}, "a database elsewhere")
    own = Rendered(COMBINATIONS["a provider of one's own"]).one("NetworkPolicy")
    same(ports(own, "egress"), {53, 8000}, "a provider of one's own")

    rendered = Rendered(INTERNAL)
    database = rendered.one("NetworkPolicy", "postgresql")
    same(database["spec"]["egress"], [], "the database asks nobody")
    [peer] = database["spec"]["ingress"][0]["from"]
    same(peer["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "server", "the daemon alone asks the database")
    to = [rule for rule in rendered.one("NetworkPolicy", "agent-core")["spec"]["egress"] if "to" in rule]
    same(to[0]["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"], "postgresql", "and nothing else")

    peers = Rendered(COMBINATIONS["network policy with peers"]).one("NetworkPolicy")["spec"]["ingress"][0]["from"]
    same(len(peers), 3, "those named, the release's own, those named besides")
    same(Rendered(COMBINATIONS["no network policy"]).all("NetworkPolicy"), [], "turned off")
    same(ports(Rendered(COMBINATIONS["ingest Job"]).one("NetworkPolicy", "ingest"), "egress"), {53, "http", 443, 9000}, "S3")


@test
def the_disruption_budget_never_holds_up_a_drain_of_the_only_pod():
    budget = Rendered().one("PodDisruptionBudget")["spec"]
    same((budget["maxUnavailable"], budget["unhealthyPodEvictionPolicy"]), (1, "AlwaysAllow"), "budget")
    assert "minAvailable" not in budget


@test
def the_ingest_job_runs_again_when_what_it_does_changes_and_only_then():
    def name(**values):
        return Rendered(nested(ingest__enabled=True, **values)).one("Job")["metadata"]["name"]

    base = name(ingest__sources=["/corpus"])
    same(name(ingest__sources=["/corpus"], config__log={"level": "debug"}), base, "another change")
    assert name(ingest__sources=["/corpus", "/more"]) != base
    assert name(ingest__sources=["/corpus"], image__tag="0.9.1") != base, "another version may cut documents otherwise"


@test
def the_soak_asks_the_service_and_its_verdict_is_final():
    import tomllib
    rendered = Rendered(COMBINATIONS["soak CronJob"])
    scenario = tomllib.loads(rendered.one("ConfigMap", "soak")["data"]["scenario.toml"])
    same((scenario["target"], scenario["qps"], scenario["seed"]), ("http://core-agent-core:8080/v1/query", 10, 7), "scenario")
    same(scenario["thresholds"], ["p95<300ms", "p95<300ms in last quarter", "error_rate<1%"], "thresholds")
    job = rendered.one("CronJob")["spec"]
    same((job["concurrencyPolicy"], job["jobTemplate"]["spec"]["backoffLimit"]), ("Forbid", 0), "one at a time, once")
    said = Rendered(COMBINATIONS["soak CronJob, everything said"])
    queries = said.one("ConfigMap", "soak")["data"]["queryset.txt"].splitlines()
    same(queries, COMBINATIONS["soak CronJob, everything said"]["soak"]["queries"], "queries")


@test
def prometheus_finds_the_name_that_alerts_look_for():
    rendered = Rendered(COMBINATIONS["Prometheus"])
    monitor = rendered.one("ServiceMonitor")
    endpoint = monitor["spec"]["endpoints"][0]
    same(endpoint["relabelings"], [{"targetLabel": "job", "replacement": "alfred"}], "job")
    service = rendered.one("Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert endpoint["port"] in [port["name"] for port in service["spec"]["ports"]]
    groups = rendered.one("PrometheusRule")["spec"]["groups"]
    shipped = [group for file in ("recording", "alerts")
               for group in yaml.safe_load((CHART / f"../../prometheus/{file}.yml").read_text())["groups"]]
    same(groups, shipped, "rules as they are shipped for Prometheus")


@test
def a_host_that_is_named_lets_the_names_of_the_service_in_too():
    text = Rendered(COMBINATIONS["every section of the configuration"], namespace="search").configuration()
    assert '["alfred.example.org", "core-agent-core", "core-agent-core.search", "core-agent-core.search.svc"' in text, text


@test
def the_notes_say_how_to_ask_and_warn_of_what_is_lost():
    plain, keyed = Rendered().notes, Rendered(KEYS).notes
    for line in ("kubectl -n default port-forward service/core-agent-core 8080:8080", "helm upgrade core alfred/agent-core", "helm rollback core"):
        assert line in plain, line
    assert "--set access.mode=keys" in plain and "ALFRED_API_KEY" not in plain, plain
    assert "get secret core-agent-core -o jsonpath='{.data.api_key}'" in keyed, keyed
    assert "lost with the pod" in Rendered(COMBINATIONS["no claim"]).notes and "lost" not in plain
