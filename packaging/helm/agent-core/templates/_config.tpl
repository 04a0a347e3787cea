{{/* alfred.toml: what the chart sets, then what the values say. */}}
{{- define "agent-core.configuration" -}}
{{- $config := .Values.config -}}
{{- $address := .Values.listenAddress -}}
{{- $listen := list (printf "%s:8080" (ternary (printf "[%s]" $address) $address (contains ":" $address))) "unix:/run/alfred/alfred.sock" -}}
{{- $server := dict "listen" $listen "allow_anonymous" (eq .Values.access.mode "anonymous") -}}
{{- $store := dict "kind" .Values.store.kind "path" "/var/lib/alfred" -}}
{{- $embedding := dict -}}
{{- if .Values.model.volume }}{{ $_ := set $embedding "models_dir" "/usr/share/alfred/mounted-models" }}{{ end -}}
{{- $server = merge $server $config.server -}}
{{- if $server.allowed_hosts -}}
  {{- $name := include "agent-core.fullname" . -}}
  {{- $inside := printf "%s.%s" $name .Release.Namespace -}}
  {{- $_ := set $server "allowed_hosts" (concat $server.allowed_hosts (list $name $inside (printf "%s.svc" $inside) (printf "%s.svc.cluster.local" $inside))) -}}
{{- end -}}
# Made by Helm from the values of the release {{ .Release.Name }}: change those, and run helm upgrade.
[server]
{{- include "agent-core.tomlLines" $server }}

[store]
{{- include "agent-core.tomlLines" (merge $store $config.store) }}

[embedding]
{{- include "agent-core.tomlLines" (merge $embedding $config.embedding) }}
{{- range $section := list "answer" "ingest" "log" "telemetry" "soak" "notify" }}
{{- with index $config $section }}

[{{ $section }}]
{{- include "agent-core.tomlLines" . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Environment of the daemon. */}}
{{- define "agent-core.serverEnv" -}}
{{- if include "agent-core.credentialSources" . | trim }}
- name: CREDENTIALS_DIRECTORY
  value: /run/credentials/alfred
{{- end }}
{{- $postgresql := .Values.postgresql }}
{{- with $postgresql.auth.existingSecret }}
{{- if $postgresql.enabled }}
- name: POSTGRES_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $postgresql.auth.existingSecretKey }}
- name: POSTGRES_DSN
  value: "host={{ include "agent-core.fullname" $ }}-postgresql port=5432 dbname={{ $postgresql.auth.database }} user={{ $postgresql.auth.username }} password='$(POSTGRES_PASSWORD)' sslmode=disable"
{{- end }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}
