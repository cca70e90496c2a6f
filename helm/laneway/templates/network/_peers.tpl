{{/* An egress rule for DNS, over UDP and TCP. */}}
{{- define "laneway.dnsEgress" -}}
- ports:
    {{- range .Values.networkPolicy.dnsPorts }}
    - port: {{ . }}
      protocol: UDP
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with .Values.networkPolicy.dnsTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{- define "laneway.apiServerEgress" -}}
- ports:
    {{- range .Values.networkPolicy.apiServerPorts }}
    - port: {{ . }}
      protocol: TCP
    {{- end }}
  {{- with .Values.networkPolicy.apiServerTo }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Who reads metrics; with nobody named, everybody. */}}
{{- define "laneway.metricsIngress" -}}
- ports:
    - port: 9090
      protocol: TCP
  {{- with .Values.networkPolicy.metricsFrom }}
  from:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}

{{/* Pods of a component, in the release's namespace. Called with (list $ component). */}}
{{- define "laneway.podPeer" -}}
podSelector:
  matchLabels:
    {{- include "laneway.selectorLabels" . | nindent 4 }}
{{- end -}}

{{/* A NetworkPolicy's head. Called with a dict: root, component, name, namespace. */}}
{{- define "laneway.networkPolicyHead" -}}
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: {{ include "laneway.fullname" .root }}-{{ .name }}
  namespace: {{ .namespace | quote }}
  labels:
    {{- include "laneway.labels" (list .root .component) | nindent 4 }}
{{- end -}}

{{- define "laneway.runNamespaces" -}}
{{- default .Values.watchNamespaces .Values.networkPolicy.runNamespaces | toJson -}}
{{- end -}}
