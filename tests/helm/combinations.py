"""Values that people come with. Each is rendered, validated and, where alfred is there, given to alfred."""

from chart import nested

SHA256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
INTERNAL = nested(store__kind="postgres", postgresql__enabled=True)
EXTERNAL = nested(store__kind="postgres", secrets__postgresDsn="postgresql://alfred:p@db.example:6432/alfred")
KEYS = nested(access__mode="keys")

COMBINATIONS = {
    "defaults": {},
    "PostgreSQL in the release": INTERNAL,
    "PostgreSQL in the release, password given": {**INTERNAL, "postgresql": {"enabled": True, "auth": {"password": "it's \\ a:b@c/ï"}}},
    "PostgreSQL in the release, password elsewhere, nothing kept": {
        **INTERNAL, "postgresql": {"enabled": True, "auth": {"existingSecret": "pg"}, "persistence": {"enabled": False}}},
    "PostgreSQL in the release, pinned, placed": {**INTERNAL, "postgresql": {
        "enabled": True, "image": {"digest": "sha256:" + "0" * 64}, "nodeSelector": {"disk": "ssd"},
        "tolerations": [{"key": "db", "operator": "Exists"}], "affinity": {"nodeAffinity": {}},
        "persistence": {"storageClass": "fast", "size": "100Gi"}, "parameters": {"shared_buffers": "1GB"}}},
    "PostgreSQL elsewhere, by DSN": {**EXTERNAL, "store": {"kind": "postgres", "port": 6432}},
    "PostgreSQL elsewhere, by an existing Secret": nested(store__kind="postgres", secrets__existingSecret="alfred-credentials"),
    "PostgreSQL elsewhere, by the environment": nested(
        store__kind="postgres", extraEnvFrom=[{"secretRef": {"name": "alfred-env"}}],
        extraEnv=[{"name": "POSTGRES_DSN", "valueFrom": {"secretKeyRef": {"name": "db", "key": "dsn"}}}]),
    "HPA": {**INTERNAL, "autoscaling": {"enabled": True, "minReplicas": 3, "maxReplicas": 9}},
    "three pods": {**EXTERNAL, "replicaCount": 3},
    "no pods": {"replicaCount": 0},
    "keys, made by the chart": KEYS,
    "keys, hashed in the values": nested(access__mode="keys", access__keys=[
        {"name": "app", "role": "query", "sha256": SHA256, "collections": ["handbook", "faq"]},
        {"name": "Ops_2.eu-1", "role": "admin", "sha256": SHA256[::-1]}]),
    "keys, in an existing Secret": nested(
        access__mode="keys", access__existingSecret="alfred-keys", access__clientSecret="alfred-client",
        access__clientSecretKey="key", ingest__enabled=True, ingest__sources=["/corpus"], soak__enabled=True,
        serviceMonitor__enabled=True),
    "keys, in the Secret of all credentials": nested(
        access__mode="keys", secrets__existingSecret="alfred-credentials", access__clientSecret="alfred-client",
        soak__enabled=True),
    "a provider, Redis, a collector": nested(
        secrets__openaiApiKey="sk-1", secrets__redisUrl="rediss://:p@cache.example:6380/0", secrets__otlpHeaders="a=b",
        secrets__webhookUrl="https://hooks.example/1", config__embedding={"kind": "openai", "dimensions": 512},
        config__telemetry={"otlp_endpoint": "http://collector:4318", "otlp_sample_ratio": 0.25},
        config__answer={"kind": "generated", "model": "gpt-small"}, soak__enabled=True),
    "a provider of one's own": nested(config__embedding={"kind": "openai", "base_url": "http://llm.ai:8000/v1", "model": "e5"}),
    "every section of the configuration": nested(
        config__server={"max_body_bytes": 16777216, "rate_limit": 1000000, "trusted_proxies": ["10.0.0.0/8"],
                        "allowed_hosts": ["alfred.example.org"], "console": False},
        config__ingest={"chunk_tokens": 200}, config__log={"level": "debug", "format": "json", "queries": True},
        config__soak={"retention_runs": 7}, config__notify={"on": "fail"}, config__store={"ef_search": 80},
        config__telemetry={"otlp_sample_ratio": 1}),
    "Ingress": nested(
        access__mode="keys", ingress={"enabled": True, "className": "nginx", "hosts": ["alfred.example.org"],
                                      "tls": [{"secretName": "tls", "hosts": ["alfred.example.org"]}],
                                      "annotations": {"cert-manager.io/issuer": "letsencrypt"}},
        networkPolicy__extraFrom=[{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress-nginx"}}}]),
    "a load balancer": nested(access__mode="keys", service={"type": "LoadBalancer", "port": 80, "annotations": {"a": "b"}}),
    "anonymous behind a proxy": nested(service__type="NodePort", access__allowAnonymousOutside=True),
    "no network policy": {**INTERNAL, "networkPolicy": {"enabled": False}, "soak": {"enabled": True},
                          "ingest": {"enabled": True, "sources": ["/corpus"]}},
    "network policy with peers": nested(
        networkPolicy={"from": [{"podSelector": {"matchLabels": {"app": "web"}}}],
                       "extraFrom": [{"namespaceSelector": {"matchLabels": {"team": "search"}}}],
                       "extraEgress": [{"ports": [{"port": 9000, "protocol": "TCP"}]}]}),
    "Prometheus": nested(
        access__mode="keys", serviceMonitor={"enabled": True, "labels": {"release": "prometheus"}, "interval": "30s"},
        prometheusRule={"enabled": True, "labels": {"release": "prometheus"}}),
    "ingest Job": nested(
        ingest={"enabled": True, "sources": ["s3://bucket/docs/**/*.md", "/corpus/it's \"here\""], "prune": True, "root": "/corpus",
                "collection": "handbook", "extraEnvFrom": [{"secretRef": {"name": "s3"}}],
                "extraEnv": [{"name": "AWS_ENDPOINT_URL", "value": "http://minio:9000"}],
                "volumes": [{"name": "corpus", "persistentVolumeClaim": {"claimName": "corpus"}}],
                "volumeMounts": [{"name": "corpus", "mountPath": "/corpus", "readOnly": True}]}),
    "ingest by a schedule": nested(access__mode="keys", ingest={"enabled": True, "sources": ["/corpus"], "schedule": "@hourly"}),
    "soak CronJob": nested(soak__enabled=True),
    "soak CronJob, everything said": nested(
        access__mode="keys", soak={
            "enabled": True, "schedule": "30 1 * * 1-5", "timeZone": "Europe/Berlin", "suspend": True, "existingClaim": "runs",
            "queries": ["What is \"it\"?", "# no comment", "日本語 \\ ?"],
            "scenario": {"name": "ramp", "unique": True, "stages": [{"duration": "1m", "qps": 50}, {"duration": "10m", "qps": 50.5}],
                         "duration": None, "drift": {"p95": "5ms"}, "recorder": {"enabled": False}}}),
    "no claim": nested(persistence__enabled=False),
    "an existing claim": nested(persistence={"existingClaim": "documents"}),
    "a claim of a class": nested(persistence={"storageClass": "fast", "size": "500Gi", "accessModes": ["ReadWriteOncePod"], "keep": False}),
    "a model on a volume": nested(model__volume={"persistentVolumeClaim": {"claimName": "models", "readOnly": True}}),
    "another image": nested(image={"repository": "registry.example:5000/team/alfred", "tag": "0.9.0-rc.1", "pullPolicy": "Always"},
                            imagePullSecrets=[{"name": "regcred"}]),
    "an image by digest": nested(image={"owner": "Some-Body", "digest": "sha256:" + "a" * 64}),
    "another name": nested(fullnameOverride="a-name-that-is-far-longer-than-what-a-cronjob-may-be-called", soak__enabled=True,
                           ingest={"enabled": True, "sources": ["/corpus"]}),
    "placed": nested(nodeSelector={"pool": "search"}, tolerations=[{"key": "search", "operator": "Exists"}],
                     affinity={"nodeAffinity": {}}, priorityClassName="high", podAnnotations={"a": "b"}, podLabels={"team": "search"},
                     topologySpreadConstraints=[{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}],
                     soak__enabled=True, ingest={"enabled": True, "sources": ["/corpus"]}),
    "IPv6 alone": nested(listenAddress="::"),
    "more volumes and environment": nested(
        extraVolumes=[{"name": "extra", "emptyDir": {}}], extraVolumeMounts=[{"name": "extra", "mountPath": "/extra"}],
        extraEnv=[{"name": "RUST_BACKTRACE", "value": "1"}]),
    "a long stop": nested(config__server={"drain_timeout_s": 300, "lame_duck_ms": 10500}),
    "no account, no budget, no limits": nested(
        serviceAccount={"create": False, "name": "mine"}, podDisruptionBudget__enabled=False, resources=None,
        restartOnChange=False, runAsUser=65534),
    "half may go": nested(podDisruptionBudget__maxUnavailable="50%", **{"probes__liveness__path": "/livez"}),
}
