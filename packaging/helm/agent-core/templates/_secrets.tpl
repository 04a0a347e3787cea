{{/* Whether a key of the chart's own is made: where keys are needed and nobody brings a file of them. */}}
{{- define "agent-core.makesKey" -}}
{{- if and (eq .Values.access.mode "keys") (not .Values.access.existingSecret) (not .Values.access.clientSecret) }}true{{ end }}
{{- end }}

{{/* Whether a password of the database in the release is made or taken from the values. */}}
{{- define "agent-core.makesPassword" -}}
{{- if and .Values.postgresql.enabled (not .Values.postgresql.auth.existingSecret) }}true{{ end }}
{{- end }}

{{/* Which credentials of alfred are in the chart's own Secret, as a list in JSON. */}}
{{- define "agent-core.ownCredentials" -}}
{{- $names := list -}}
{{- $secrets := .Values.secrets -}}
{{- if or $secrets.postgresDsn (include "agent-core.makesPassword" .) }}{{ $names = append $names "postgres_dsn" }}{{ end -}}
{{- if $secrets.openaiApiKey }}{{ $names = append $names "openai_api_key" }}{{ end -}}
{{- if $secrets.redisUrl }}{{ $names = append $names "redis_url" }}{{ end -}}
{{- if $secrets.webhookUrl }}{{ $names = append $names "webhook_url" }}{{ end -}}
{{- if $secrets.otlpHeaders }}{{ $names = append $names "otlp_headers" }}{{ end -}}
{{- if include "agent-core.makesKey" . }}{{ $names = append $names "api_keys" }}{{ end -}}
{{- toJson $names -}}
{{- end }}

{{/* The volume with the credentials of the daemon; nothing where there are none. */}}
{{- define "agent-core.credentialSources" -}}
{{- $own := include "agent-core.ownCredentials" . | fromJsonArray -}}
{{- if $own }}
- secret:
    name: {{ include "agent-core.fullname" . }}
    items:
      {{- range $own }}
      - key: {{ . }}
        path: {{ . }}
      {{- end }}
{{- end }}
{{- with .Values.secrets.existingSecret }}
- secret:
    name: {{ . }}
{{- end }}
{{- with .Values.access.existingSecret }}
- secret:
    name: {{ . }}
    items:
      - key: api_keys
        path: api_keys
{{- end }}
{{- end }}

{{/* The Secret and its key that hold a plain API key for Jobs and Prometheus, as NAME/KEY; nothing where none is needed. */}}
{{- define "agent-core.clientKey" -}}
{{- if eq .Values.access.mode "keys" }}
{{- if .Values.access.clientSecret }}{{ .Values.access.clientSecret }}/{{ .Values.access.clientSecretKey }}
{{- else if include "agent-core.makesKey" . }}{{ include "agent-core.fullname" . }}/api_key
{{- end }}
{{- end }}
{{- end }}

{{/* The same as environment of a client. */}}
{{- define "agent-core.clientEnv" -}}
{{- with include "agent-core.clientKey" . }}
{{- $parts := splitList "/" . }}
- name: ALFRED_API_KEY
  valueFrom:
    secretKeyRef:
      name: {{ first $parts }}
      key: {{ last $parts }}
{{- end }}
{{- end }}

{{/* An item of a Secret as it is in the cluster, in plain; nothing where it is not there, or where there is no cluster. */}}
{{- define "agent-core.kept" -}}
{{- $root := first . -}}
{{- $secret := lookup "v1" "Secret" $root.Release.Namespace (include "agent-core.fullname" $root) | default dict -}}
{{- get ($secret.data | default dict) (last .) | b64dec -}}
{{- end }}
