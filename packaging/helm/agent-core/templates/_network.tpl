{{/* Names are looked up by whoever asks others. */}}
{{- define "agent-core.egressDns" -}}
- ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
{{- end }}

{{/* Egress to a port of whatever address: a NetworkPolicy knows no names. */}}
{{- define "agent-core.egressPort" -}}
- ports:
    - port: {{ int . }}
      protocol: TCP
{{- end }}

{{/* The port of a URL. */}}
{{- define "agent-core.portOf" -}}
{{- $url := urlParse . -}}
{{- $host := regexFind ":[0-9]+$" $url.host -}}
{{- if $host }}{{ trimPrefix ":" $host }}{{ else if hasPrefix "https" $url.scheme }}443{{ else if hasPrefix "redis" $url.scheme }}6379{{ else }}80{{ end -}}
{{- end }}

{{/* Ports elsewhere that the daemon needs, as a list in JSON. */}}
{{- define "agent-core.remotePorts" -}}
{{- $values := .Values -}}
{{- $config := $values.config -}}
{{- $secrets := $values.secrets -}}
{{- $ports := list -}}
{{- if and (eq $values.store.kind "postgres") (not $values.postgresql.enabled) }}{{ $ports = append $ports (int $values.store.port) }}{{ end -}}
{{- $asksProvider := or (eq (default "" $config.embedding.kind) "openai") (eq (default "" $config.answer.kind) "generated") $secrets.openaiApiKey -}}
{{- if $asksProvider }}{{ $ports = append $ports (include "agent-core.portOf" (default "https://api.openai.com/v1" $config.embedding.base_url) | int) }}{{ end -}}
{{- with $secrets.redisUrl }}{{ $ports = append $ports (include "agent-core.portOf" . | int) }}{{ end -}}
{{- with $config.telemetry.otlp_endpoint }}{{ $ports = append $ports (include "agent-core.portOf" . | int) }}{{ end -}}
{{- toJson (uniq $ports) -}}
{{- end }}
