{{/* What goes together, beyond what values.schema.json can say. Each message: what, why, what to do. */}}
{{- define "agent-core.validate" -}}
{{- include "agent-core.validateStore" . -}}
{{- include "agent-core.validateAccess" . -}}
{{- include "agent-core.validateRest" . -}}
{{- end }}

{{- define "agent-core.validateStore" -}}
{{- $values := .Values -}}
{{- $secrets := $values.secrets -}}
{{- $environment := or $values.extraEnv $values.extraEnvFrom -}}
{{- if eq $values.store.kind "embedded" -}}
  {{- if gt (int $values.replicaCount) 1 -}}
    {{- fail (printf "\n\nreplicaCount is %d, and the embedded store is one file for one pod: each pod would answer from documents of its own.\nhint: --set store.kind=postgres, with postgresql.enabled=true or secrets.postgresDsn; or replicaCount=1" (int $values.replicaCount)) -}}
  {{- end -}}
  {{- if $values.autoscaling.enabled -}}
    {{- fail "\n\nautoscaling.enabled would start more pods, and the embedded store is one file for one pod.\nhint: --set store.kind=postgres, with postgresql.enabled=true or secrets.postgresDsn; or autoscaling.enabled=false" -}}
  {{- end -}}
  {{- if $values.postgresql.enabled -}}
    {{- fail "\n\npostgresql.enabled runs a database, and store.kind is embedded: nothing would use it.\nhint: --set store.kind=postgres" -}}
  {{- end -}}
  {{- if $secrets.postgresDsn -}}
    {{- fail "\n\nsecrets.postgresDsn names a database, and store.kind is embedded: nothing would use it.\nhint: --set store.kind=postgres" -}}
  {{- end -}}
{{- else -}}
  {{- if and $values.postgresql.enabled $secrets.postgresDsn -}}
    {{- fail "\n\npostgresql.enabled and secrets.postgresDsn name two databases.\nhint: leave one of them out" -}}
  {{- end -}}
  {{- if not (or $values.postgresql.enabled $secrets.postgresDsn $secrets.existingSecret $environment) -}}
    {{- fail "\n\nstore.kind is postgres, and no database is named.\nhint: --set postgresql.enabled=true for one in this release, or secrets.postgresDsn, or secrets.existingSecret with a key postgres_dsn, or POSTGRES_DSN in extraEnvFrom" -}}
  {{- end -}}
  {{- if $values.autoscaling.enabled -}}
    {{- if gt (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas) -}}
      {{- fail (printf "\n\nautoscaling.minReplicas is %d and maxReplicas %d.\nhint: raise maxReplicas" (int $values.autoscaling.minReplicas) (int $values.autoscaling.maxReplicas)) -}}
    {{- end -}}
    {{- if not (dig "requests" "cpu" "" ($values.resources | default dict)) -}}
      {{- fail "\n\nautoscaling aims at a share of the requested CPU, and resources.requests.cpu is not set.\nhint: --set resources.requests.cpu=500m" -}}
    {{- end -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{- define "agent-core.validateAccess" -}}
{{- $access := .Values.access -}}
{{- $outside := or (ne .Values.service.type "ClusterIP") .Values.ingress.enabled -}}
{{- if eq $access.mode "anonymous" -}}
  {{- if and $outside (not $access.allowAnonymousOutside) -}}
    {{- $how := ternary "ingress.enabled" (printf "service.type %s" .Values.service.type) .Values.ingress.enabled -}}
    {{- fail (printf "\n\n%s lets others than the cluster's pods ask, and access.mode is anonymous: anybody could read, write and delete.\nhint: --set access.mode=keys; or access.allowAnonymousOutside=true, where something before it asks who comes" $how) -}}
  {{- end -}}
  {{- if or $access.keys $access.existingSecret -}}
    {{- fail "\n\nthere are keys in access, and access.mode is anonymous: nobody would have to show one.\nhint: --set access.mode=keys" -}}
  {{- end -}}
{{- else -}}
  {{- if and $access.keys $access.existingSecret -}}
    {{- fail "\n\naccess.keys and access.existingSecret are two sets of keys, and the daemon reads one file.\nhint: put the keys into the Secret, and leave access.keys out" -}}
  {{- end -}}
  {{- if and $access.clientSecret (not $access.existingSecret) (not .Values.secrets.existingSecret) -}}
    {{- fail "\n\naccess.clientSecret has a key, and nothing says that it may come in.\nhint: --set access.existingSecret=SECRET, with a file of keys as api_keys" -}}
  {{- end -}}
  {{- if and $access.existingSecret (not $access.clientSecret) (or .Values.ingest.enabled .Values.soak.enabled .Values.serviceMonitor.enabled) -}}
    {{- fail "\n\ningest, soak and serviceMonitor have to show a key, and access.existingSecret has only hashes.\nhint: --set access.clientSecret=SECRET, with a plain key of the role write as api_key" -}}
  {{- end -}}
{{- end -}}
{{- end }}

{{- define "agent-core.validateRest" -}}
{{- $values := .Values -}}
{{- $secrets := $values.secrets -}}
{{- $environment := or $values.extraEnv $values.extraEnvFrom -}}
{{- $embedding := $values.config.embedding -}}
{{- $needed := int (include "agent-core.stopSeconds" .) -}}
{{- with $values.terminationGracePeriodSeconds -}}
  {{- if lt (int .) (sub $needed 10 | int) -}}
    {{- fail (printf "\n\nterminationGracePeriodSeconds is %d, and lame duck and drain timeout take up to %d s: requests would be cut off.\nhint: leave it out, or lower config.server.drain_timeout_s" (int .) (sub $needed 10)) -}}
  {{- end -}}
{{- end -}}
{{- if and (eq (default "" $embedding.kind) "openai") (not $embedding.base_url) (not (or $secrets.openaiApiKey $secrets.existingSecret $environment)) -}}
  {{- fail "\n\nconfig.embedding.kind is openai, and there is no key of the provider.\nhint: --set secrets.openaiApiKey=…, or secrets.existingSecret with a key openai_api_key, or OPENAI_API_KEY in extraEnvFrom" -}}
{{- end -}}
{{- if and $values.ingest.enabled (not $values.ingest.sources) -}}
  {{- fail "\n\ningest.enabled, and ingest.sources is empty.\nhint: --set 'ingest.sources={s3://bucket/docs/**/*.md}'" -}}
{{- end -}}
{{- if and $values.ingress.enabled (not $values.ingress.hosts) -}}
  {{- fail "\n\ningress.enabled, and ingress.hosts is empty.\nhint: --set 'ingress.hosts={alfred.example.org}'" -}}
{{- end -}}
{{- if and $values.ingress.enabled $values.networkPolicy.enabled (not $values.networkPolicy.from) (not $values.networkPolicy.extraFrom) -}}
  {{- fail "\n\ningress.enabled, and the NetworkPolicy lets no ingress controller of another namespace in.\nhint: --set 'networkPolicy.extraFrom[0].namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=ingress-nginx'; or networkPolicy.enabled=false" -}}
{{- end -}}
{{- end }}
