{{/* What the operator does with the objects that it serves. docs/install.md gives the reason of each rule. */}}
{{- define "laneway.operatorRules" -}}
- apiGroups: [laneway.dev]
  resources: [agentruns, modellanes]
  verbs: [get, list, watch]
- apiGroups: [laneway.dev]
  resources: [agentruns]
  verbs: [patch, delete]
- apiGroups: [laneway.dev]
  resources: [agentruns/status, modellanes/status]
  verbs: [patch]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, create, delete, patch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}

{{- define "laneway.operatorClusterRules" -}}
- apiGroups: [""]
  resources: [nodes]
  verbs: [get]
{{- end -}}

{{/* The slice of the API server's own addresses lies in the namespace default. */}}
{{- define "laneway.gatewayClusterRules" -}}
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  resourceNames: [kubernetes]
  verbs: [get]
{{- end -}}

{{/* A create cannot be bound to a name: the API server does not know it yet when it authorizes. */}}
{{- define "laneway.operatorOwnRules" -}}
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [{{ include "laneway.leaseName" . }}]
  verbs: [get, update]
- apiGroups: [""]
  resources: [secrets]
  verbs: [create]
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "laneway.tokenSecretName" . }}]
  verbs: [get]
{{- end -}}

{{- define "laneway.gatewayRules" -}}
- apiGroups: [laneway.dev]
  resources: [agentruns]
  verbs: [get, list, watch]
- apiGroups: [laneway.dev]
  resources: [modellanes]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [secrets]
  verbs: [get]
{{- end -}}

{{- define "laneway.gatewayOwnRules" -}}
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [{{ include "laneway.tokenSecretName" . }}]
  verbs: [get]
{{- end -}}

{{/*
A role with its binding to a component's service account. Called with a dict: root, component, name, rules, and namespace
for a Role; without a namespace it is a ClusterRole.
*/}}
{{- define "laneway.grant" -}}
{{- $prefix := ternary "" "Cluster" (hasKey . "namespace") -}}
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}Role
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include "laneway.labels" (list .root .component) | nindent 4 }}
rules:
  {{- .rules | nindent 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: {{ $prefix }}RoleBinding
metadata:
  name: {{ .name }}
  {{- with .namespace }}
  namespace: {{ . | quote }}
  {{- end }}
  labels:
    {{- include "laneway.labels" (list .root .component) | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: {{ $prefix }}Role
  name: {{ .name }}
subjects:
  - kind: ServiceAccount
    name: {{ include "laneway.serviceAccountName" (list .root .component) | quote }}
    namespace: {{ .root.Release.Namespace | quote }}
{{- end -}}
