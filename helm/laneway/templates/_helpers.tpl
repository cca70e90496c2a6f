{{- define "laneway.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{/* The stem of all names: at most 40 characters, so that every name made from it is a DNS label. */}}
{{- define "laneway.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "laneway.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "laneway.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Labels that selectors use; they can never change. Called with (list $ component). */}}
{{- define "laneway.selectorLabels" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "laneway.name" $root | quote }}
app.kubernetes.io/instance: {{ $root.Release.Name | quote }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of an object; the chart's own win over commonLabels. Called with (list $ component), the component may be "". */}}
{{- define "laneway.labels" -}}
{{- $root := index . 0 -}}
{{- $own := dict
    "app.kubernetes.io/name" (include "laneway.name" $root)
    "app.kubernetes.io/instance" $root.Release.Name
    "app.kubernetes.io/version" $root.Chart.AppVersion
    "app.kubernetes.io/part-of" "laneway"
    "app.kubernetes.io/managed-by" $root.Release.Service
    "helm.sh/chart" (printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-")
-}}
{{- if index . 1 -}}
{{- $_ := set $own "app.kubernetes.io/component" (index . 1) -}}
{{- end -}}
{{- merge $own $root.Values.commonLabels | toYaml -}}
{{- end -}}

{{- define "laneway.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* Name of a component's service account. Called with (list $ component). */}}
{{- define "laneway.serviceAccountName" -}}
{{- $root := index . 0 -}}
{{- $account := (index $root.Values (index . 1)).serviceAccount -}}
{{- if $account.create -}}
{{- default (printf "%s-%s" (include "laneway.fullname" $root) (index . 1)) $account.name -}}
{{- else -}}
{{- default "default" $account.name -}}
{{- end -}}
{{- end -}}

{{- define "laneway.leaseName" -}}
{{- printf "%s-operator" (include "laneway.fullname" .) -}}
{{- end -}}

{{/* The leading operator creates this Secret; the chart only names it. */}}
{{- define "laneway.tokenSecretName" -}}
{{- printf "%s-token-keys" (include "laneway.fullname" .) -}}
{{- end -}}

{{- define "laneway.gatewayHost" -}}
{{- printf "%s-gateway.%s.svc" (include "laneway.fullname" .) .Release.Namespace -}}
{{- end -}}
