{{/* The pod that ingests, of the Job and the CronJob: it hands documents to the daemon, and needs neither store nor model. */}}
{{- define "agent-core.ingestPod" -}}
metadata:
  labels:
    {{- include "agent-core.labels" (list . "ingest") | nindent 4 }}
spec:
  restartPolicy: OnFailure
  serviceAccountName: {{ include "agent-core.serviceAccountName" . }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    {{- include "agent-core.podSecurity" .Values.runAsUser | nindent 4 }}
  {{- include "agent-core.scheduling" . | nindent 2 }}
  containers:
    - name: ingest
      image: {{ include "agent-core.image" . | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      command: [/usr/bin/alfred, ingest]
      workingDir: /tmp
      args:
        - --url
        - {{ include "agent-core.url" . | quote }}
        - --root
        - {{ .Values.ingest.root | quote }}
        - --collection
        - {{ .Values.ingest.collection | quote }}
        {{- if .Values.ingest.prune }}
        - --prune
        {{- end }}
        - --
        {{- range .Values.ingest.sources }}
        - {{ . | quote }}
        {{- end }}
      {{- $environment := include "agent-core.clientEnv" . | trim }}
      {{- if or $environment .Values.ingest.extraEnv }}
      env:
        {{- with $environment }}{{ . | nindent 8 }}{{ end }}
        {{- with .Values.ingest.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- end }}
      {{- with .Values.ingest.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      securityContext:
        {{- include "agent-core.containerSecurity" . | nindent 8 }}
      {{- with .Values.ingest.resources }}
      resources:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      volumeMounts:
        - name: tmp
          mountPath: /tmp
        {{- with .Values.ingest.volumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {}
    {{- with .Values.ingest.volumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}
