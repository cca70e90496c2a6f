{{/* Metadata of a component's pods. Called with (list $ component). */}}
{{- define "laneway.podMetadata" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
labels:
  {{- merge (include "laneway.labels" . | fromYaml) $values.podLabels | toYaml | nindent 2 }}
annotations:
  {{- $own := dict "kubectl.kubernetes.io/default-container" (index . 1) -}}
  {{- if and (eq (index . 1) "operator") $root.Values.presets -}}
  {{- $_ := set $own "laneway.dev/presets-checksum" (toYaml $root.Values.presets | sha256sum) -}}
  {{- end -}}
  {{- merge $own $values.podAnnotations | toYaml | nindent 2 }}
{{- end -}}

{{/*
What the pods of both components share. Service links stay off: a Service called laneway-... would put variables such as
LANEWAY_GATEWAY_PORT=tcp://... among our settings. Called with (list $ component).
*/}}
{{- define "laneway.podSpec" -}}
{{- $root := index . 0 -}}
{{- $values := index $root.Values (index . 1) -}}
serviceAccountName: {{ include "laneway.serviceAccountName" . | quote }}
automountServiceAccountToken: true
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  {{- with $root.Values.podSecurityContext }}
  {{- if .runAsUser }}
  runAsUser: {{ int64 .runAsUser }}
  {{- end }}
  {{- if .runAsGroup }}
  runAsGroup: {{ int64 .runAsGroup }}
  {{- end }}
  {{- if .fsGroup }}
  fsGroup: {{ int64 .fsGroup }}
  fsGroupChangePolicy: OnRootMismatch
  {{- end }}
  {{- with .supplementalGroups }}
  supplementalGroups:
    {{- range . }}
    - {{ int64 . }}
    {{- end }}
  {{- end }}
  {{- with .seLinuxOptions }}
  seLinuxOptions:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  seccompProfile:
    type: {{ .seccompProfile.type }}
    {{- if eq .seccompProfile.type "Localhost" }}
    localhostProfile: {{ required "podSecurityContext.seccompProfile.localhostProfile must name a file when the type is Localhost" .seccompProfile.localhostProfile | quote }}
    {{- end }}
  {{- end }}
{{- with $root.Values.dnsPolicy }}
dnsPolicy: {{ . }}
{{- end }}
{{- with $root.Values.dnsConfig }}
dnsConfig:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.priorityClassName }}
priorityClassName: {{ . | quote }}
{{- end }}
{{- end -}}

{{/* The part of a container that is the same in both components. Called with (list $ component). */}}
{{- define "laneway.container" -}}
{{- $root := index . 0 -}}
name: {{ index . 1 }}
{{ include "laneway.programOfImage" $root }}
args:
  - {{ index . 1 }}
resources:
  {{- toYaml (index $root.Values (index . 1)).resources | nindent 2 }}
{{- end -}}

{{/* Our image, and what its process may do on a node. */}}
{{- define "laneway.programOfImage" -}}
image: {{ include "laneway.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop:
      - ALL
  {{- with .Values.securityContext }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "laneway.sharedEnv" -}}
- name: LANEWAY_POD_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: LANEWAY_WATCH_NAMESPACES
  value: {{ join "," .Values.watchNamespaces | quote }}
- name: LANEWAY_TOKEN_SECRET
  value: {{ include "laneway.tokenSecretName" . }}
- name: LANEWAY_METRICS_PORT
  value: "9090"
- name: LANEWAY_LOG_LEVEL
  value: {{ .Values.logLevel }}
- name: LANEWAY_LOG_FORMAT
  value: {{ .Values.logFormat }}
{{- with .Values.tracing }}
{{- if .endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .endpoint | quote }}
- name: OTEL_TRACES_SAMPLER_ARG
  value: {{ .ratio | quote }}
{{- if .headersSecret.name }}
- name: OTEL_EXPORTER_OTLP_HEADERS
  valueFrom:
    secretKeyRef:
      name: {{ .headersSecret.name | quote }}
      key: {{ .headersSecret.key | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Probes on one named port. The start may take long (a first list of everything), a stuck process is noticed within 30 seconds. */}}
{{- define "laneway.probes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: {{ . }}
  periodSeconds: 2
  timeoutSeconds: 5
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /healthz
    port: {{ . }}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 3
readinessProbe:
  httpGet:
    path: /readyz
    port: {{ . }}
  periodSeconds: 5
  timeoutSeconds: 5
  failureThreshold: 2
{{- end -}}
