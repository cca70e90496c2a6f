{{/*
"true" when an object of an API that the cluster may not have is to be rendered. Called with a dict: root, value (the path of
the value with enabled and renderMode), kind.
*/}}
{{- define "laneway.rendersMonitoring" -}}
{{- $value := get .root.Values.metrics .value -}}
{{- if $value.enabled -}}
{{- if or (eq $value.renderMode "alwaysRender") (.root.Capabilities.APIVersions.Has (printf "monitoring.coreos.com/v1/%s" .kind)) -}}
true
{{- else if eq $value.renderMode "failIfMissing" -}}
{{- fail (printf "metrics.%s.enabled is true, and the cluster does not know monitoring.coreos.com/v1 %s: install the Prometheus Operator first, or set metrics.%s.renderMode to skipIfMissing" .value .kind .value) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Metadata of an object that the values place, label and annotate. Called with a dict: root, name, labels, values. */}}
{{- define "laneway.placedMetadata" -}}
name: {{ .name }}
namespace: {{ default .root.Release.Namespace .values.namespace | quote }}
labels:
  {{- merge (include "laneway.labels" (list .root "") | fromYaml) .labels .values.additionalLabels | toYaml | nindent 2 }}
{{- with .values.annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}
