{{/* The name of the RayService, and the start of all other names. */}}
{{- define "winnow.name" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "winnow.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/name: winnow
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{/* What all of Ray's pods have in common, and nothing else. KubeRay adds labels of its own, and
     takes app.kubernetes.io/name for itself. */}}
{{- define "winnow.ray" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/part-of: winnow
{{- end -}}

{{- define "winnow.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* The service in front of the workers, which KubeRay makes. */}}
{{- define "winnow.service" -}}
{{ include "winnow.name" . }}-serve-svc
{{- end -}}

{{/* The service that requests go through. */}}
{{- define "winnow.backend" -}}
{{- if and (eq .Values.upgrade.strategy "NewClusterWithIncrementalUpgrade") (not .Values.ingress.backend.name) }}
{{- fail "ingress.backend.name is needed: an incremental upgrade sends requests through the service of the Gateway that KubeRay makes" }}
{{- end }}
{{- .Values.ingress.backend.name | default (include "winnow.service" .) }}
{{- end -}}

{{/* Pod Security "restricted", in full. */}}
{{- define "winnow.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "winnow.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities: {drop: [ALL]}
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{/* A container's `resources` of cpu and memory: what it asks for is what it gets. */}}
{{- define "winnow.resources" -}}
requests: {cpu: {{ .cpu }}, memory: {{ .memory }}}
limits: {cpu: {{ .cpu }}, memory: {{ .memory }}}
{{- end -}}

{{/* The groups as JSON, each with what groupDefaults has and it lacks. */}}
{{- define "winnow.groups" -}}
{{- $groups := list -}}
{{- range .Values.groups -}}
{{- $groups = append $groups (mergeOverwrite (deepCopy $.Values.groupDefaults) .) -}}
{{- end -}}
{{- toJson $groups -}}
{{- end -}}

{{/* Seconds from a pod's deletion to its end. */}}
{{- define "winnow.graceSeconds" -}}
{{- /* The requests at its HAProxy, 125; new replicas elsewhere, 300; the old ones' requests, 125;
       and 20 for Ray itself to end. */ -}}
{{- with .Values.drain -}}
{{- add .requestsSeconds .replacementSeconds .shutdownSeconds 20 -}}
{{- end -}}
{{- end -}}

{{/* Empty if the models are in the image. */}}
{{- define "winnow.weightsClaim" -}}
{{- with .Values.weights -}}
{{- if or .claim .fetch }}{{ .claim | default (printf "%s-weights" (include "winnow.name" $)) }}{{ end -}}
{{- end -}}
{{- end -}}

{{- define "winnow.journalsClaim" -}}
{{ .Values.journals.claim | default (printf "%s-journals" (include "winnow.name" .)) }}
{{- end -}}
