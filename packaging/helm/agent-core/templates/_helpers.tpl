{{/* Names. Cut at 40 characters, so that what is appended (a CronJob's own suffix among it) stays within 63. */}}
{{- define "agent-core.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "agent-core.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{/* Labels that a selector may have: they never change. Called with (list $ COMPONENT). */}}
{{- define "agent-core.selector" -}}
{{- $root := first . -}}
app.kubernetes.io/name: {{ include "agent-core.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ last . }}
{{- end }}

{{- define "agent-core.labels" -}}
{{- $root := first . -}}
{{ include "agent-core.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: alfred
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "agent-core.image" -}}
{{- $image := .Values.image -}}
{{- $repository := default (printf "ghcr.io/%s/alfred" (lower $image.owner)) $image.repository -}}
{{- if $image.digest }}{{ $repository }}@{{ $image.digest }}
{{- else }}{{ $repository }}:{{ default .Chart.AppVersion $image.tag }}
{{- end }}
{{- end }}

{{- define "agent-core.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}{{ default (include "agent-core.fullname" .) .Values.serviceAccount.name }}
{{- else }}{{ default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{/* Where pods of the release ask. */}}
{{- define "agent-core.url" -}}
http://{{ include "agent-core.fullname" . }}:{{ int .Values.service.port }}
{{- end }}

{{/*
What every pod and every container has: the profile "restricted" of Pod Security Standards, and a root file
system that nobody writes. A user by number, since the kubelet cannot see that a name is not root.
*/}}
{{- define "agent-core.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ int . }}
runAsGroup: {{ int . }}
fsGroup: {{ int . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "agent-core.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Where pods of alfred run. */}}
{{- define "agent-core.scheduling" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/*
A value as TOML, on one line. JSON's strings, numbers and lists are TOML's, too; tables become inline tables, and
what is null is left out. Helm reads numbers as floats: toRawJson writes whole ones without a point, toToml does not.
*/}}
{{- define "agent-core.toml" -}}
{{- if kindIs "map" . -}}
{ {{ $first := true }}
{{- range $key, $value := . }}{{ if not (kindIs "invalid" $value) }}
{{- if not $first }}, {{ end }}{{ $first = false }}{{ $key | toRawJson }} = {{ include "agent-core.toml" $value }}
{{- end }}{{ end }} }
{{- else if kindIs "slice" . -}}
[{{ range $index, $value := . }}{{ if $index }}, {{ end }}{{ include "agent-core.toml" $value }}{{ end }}]
{{- else -}}
{{ toRawJson . }}
{{- end -}}
{{- end }}

{{/* The keys of a table, one a line. */}}
{{- define "agent-core.tomlLines" -}}
{{- range $key, $value := . }}
{{- if not (kindIs "invalid" $value) }}
{{ $key }} = {{ include "agent-core.toml" $value }}
{{- end }}
{{- end }}
{{- end }}

{{/* Seconds that a stop takes at most. */}}
{{- define "agent-core.stopSeconds" -}}
{{- $server := .Values.config.server -}}
{{- $lameDuck := divf (default 0 $server.lame_duck_ms) 1000 | ceil | int -}}
{{- add $lameDuck (int (default 0 $server.drain_timeout_s)) 10 -}}
{{- end }}
