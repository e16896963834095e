{{/* The environment of every Ray process, as JSON. That of cluster/environment.py is the first part:
     a test compares them. KubeRay sets RAY_AUTH_MODE and the token. */}}
{{- define "winnow.environment" -}}
{{- $environment := dict
  "RAY_SERVE_ENABLE_HA_PROXY" "1"
  "RAY_SERVE_THROUGHPUT_OPTIMIZED" "1"
  "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH" "67108864"
  "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S" "130"
  "RAY_SERVE_HAPROXY_RETRY_ON" "conn-failure empty-response"
  "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER" "1s"
  "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH" "deployments.web.header_filter:middlewares"
  "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS" "1"
  "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE" "1"
  "RAY_SERVE_REQUEST_LATENCY_BUCKETS_MS" "5,10,20,35,50,75,100,150,200,300,400,500,700,1000,1500,2000,3000,5000,7500,10000,20000,30000,60000,120000"
  "RAY_process_group_cleanup_enabled" "1"
  "RAY_USAGE_STATS_ENABLED" "0"
-}}
{{- if .Values.packed }}{{ $_ := set $environment "RAY_SERVE_USE_PACK_SCHEDULING_STRATEGY" "1" }}{{ end -}}
{{- $pods := dict
  "RAY_SERVE_HAPROXY_BINARY_PATH" "/opt/winnow/bin/winnow-haproxy"
  "RAY_SERVE_HAPROXY_MAXCONN" "20000"
  "RAY_ROTATION_MAX_BYTES" "104857600"
  "RAY_ROTATION_BACKUP_COUNT" "2"
  "HOME" "/tmp/home"
  "HF_HUB_CACHE" "/models/hub"
  "HF_HUB_OFFLINE" "1"
-}}
{{- /* Without a limit of its own Ray lets what processes print grow, and so the request log.
       HOME: what compiles kernels writes there; the image's own files are read-only. */ -}}
{{- merge (deepCopy .Values.extraEnv) $environment $pods | toJson -}}
{{- end -}}

{{/* A Ray pod's template. The argument has: root, the chart's context; size, the head's values or a
     group's; component, a name for labels; placed, the deployments whose replicas it may have;
     control, the directory of the usage journals. */}}
{{- define "winnow.pod" -}}
{{- $root := .root -}}
{{- $head := eq .component "head" -}}
{{- $router := has "Router" .placed -}}
{{- $index := has "Index" .placed -}}
{{- $models := or $router (has "Embedder" .placed) (has "Reranker" .placed) -}}
{{- $database := or $router (and $index (eq $root.Values.store.engine "postgres")) -}}
{{- $qdrant := and $index $root.Values.secrets.qdrant -}}
{{- $volume := and $models (include "winnow.weightsClaim" $root) -}}
{{- $gpus := .size.gpus | default 0 -}}
{{- $spot := .size.spot | default false -}}
metadata:
  labels:
    {{- include "winnow.ray" $root | nindent 4 }}
    app.kubernetes.io/component: {{ .component }}
    {{- if or $router $index }}
    winnow/uses-stores: "true"
    {{- end }}
  annotations:
    kubectl.kubernetes.io/default-container: {{ ternary "logs" (ternary "ray-head" "ray-worker" $head) $root.Values.logs.enabled }}
spec:
  {{- /* The head's is KubeRay's own, of the autoscaler; a worker asks Kubernetes nothing. */}}
  {{- if not $head }}
  automountServiceAccountToken: false
  {{- end }}
  enableServiceLinks: false
  securityContext:
    {{- include "winnow.podSecurity" $root | nindent 4 }}
  terminationGracePeriodSeconds: {{ ternary (add $root.Values.spot.drainSeconds 20) (ternary 60 (int (include "winnow.graceSeconds" $root)) $head) $spot }}
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  {{- if .size.priorityClassName }}
  priorityClassName: {{ .size.priorityClassName }}
  {{- else if $root.Values.priorityClasses.enabled }}
  priorityClassName: {{ include "winnow.name" $root }}-{{ ternary "control" "engines" (or $head $router) }}
  {{- end }}
  {{- with .size.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- with merge (deepCopy .size.nodeSelector) (ternary $root.Values.spot.nodeSelector dict $spot) }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with concat .size.tolerations (ternary $root.Values.gpuTolerations list (gt (int $gpus) 0)) (ternary $root.Values.spot.tolerations list $spot) }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .size.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .size.spreadOver }}
  topologySpreadConstraints:
    {{- range . }}
    - topologyKey: {{ . }}
      maxSkew: 1
      whenUnsatisfiable: ScheduleAnyway
      labelSelector:
        matchLabels:
          {{- include "winnow.ray" $root | nindent 10 }}
          app.kubernetes.io/component: {{ $.component }}
    {{- end }}
  {{- end }}
  initContainers:
    {{- if $root.Values.logs.enabled }}
    - name: logs
      # Starts first and ends last; Kubernetes restarts it, whatever becomes of Ray.
      restartPolicy: Always
      image: {{ include "winnow.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [winnow-logs, /tmp/ray]
      resources:
        {{- include "winnow.resources" $root.Values.logs.resources | nindent 8 }}
      securityContext:
        {{- include "winnow.containerSecurity" $root | nindent 8 }}
      volumeMounts:
        - {name: ray-logs, mountPath: /tmp/ray, readOnly: true}
    {{- end }}
    {{- if and $models $root.Values.weights.fetch }}
    - name: wait-for-models
      image: {{ include "winnow.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      command: [sh, -c]
      args:
        - |
          until test -e /models/{{ include "winnow.modelsDigest" $root }}.complete; do
            echo '{"message": "waiting for the job that fetches the models"}'; sleep 5
          done
      resources:
        {{- include "winnow.resources" (dict "cpu" "50m" "memory" "64Mi") | nindent 8 }}
      securityContext:
        {{- include "winnow.containerSecurity" $root | nindent 8 }}
      volumeMounts:
        - {name: models, mountPath: /models, readOnly: true}
    {{- end }}
  containers:
    - name: {{ ternary "ray-head" "ray-worker" $head }}
      image: {{ include "winnow.image" $root }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      ports:
        {{- if $head }}
        - {name: gcs-server, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        - {name: client, containerPort: 10001}
        - {name: as-metrics, containerPort: 44217}
        - {name: dash-metrics, containerPort: 44227}
        {{- end }}
        - {name: serve, containerPort: 8000}
        - {name: metrics, containerPort: 8080}
        - {name: haproxy-metrics, containerPort: 9101}
      env:
        {{- range $name, $value := include "winnow.environment" $root | fromJson }}
        - {name: {{ $name }}, value: {{ $value | quote }}}
        {{- end }}
      resources:
        {{- range $part := list "requests" "limits" }}
        {{ $part }}:
          cpu: {{ $.size.cpu }}
          memory: {{ $.size.memory }}
          {{- if $gpus }}
          {{ $.size.gpuResource }}: {{ $gpus }}
          {{- end }}
        {{- end }}
      {{- if not $head }}
      lifecycle:
        preStop:
          exec:
            {{- if $spot }}
            command: [winnow-drain, --requests-s, "10", --within-s, "{{ $root.Values.spot.drainSeconds }}"]
            {{- else }}
            command: [winnow-drain, --requests-s, "{{ $root.Values.drain.requestsSeconds }}", --within-s, "{{ sub (int (include "winnow.graceSeconds" $root)) 20 }}"]
            {{- end }}
      {{- end }}
      securityContext:
        {{- include "winnow.containerSecurity" $root | nindent 8 }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: ray-logs, mountPath: /tmp/ray}
        - {name: shm, mountPath: /dev/shm}
        {{- if $volume }}
        - {name: models, mountPath: /models, readOnly: true}
        {{- end }}
        {{- if $router }}
        - {name: journals, mountPath: {{ .control }}}
        - {name: keys, mountPath: /etc/winnow/keys, readOnly: true}
        {{- end }}
        {{- if $database }}
        - {name: control, mountPath: /etc/winnow/control, readOnly: true}
        {{- end }}
        {{- if $qdrant }}
        - {name: qdrant, mountPath: /etc/winnow/qdrant, readOnly: true}
        {{- end }}
  volumes:
    - {name: tmp, emptyDir: {sizeLimit: {{ $root.Values.tmpSize }}}}
    # KubeRay's autoscaler looks for a volume of this name.
    - {name: ray-logs, emptyDir: {sizeLimit: {{ $root.Values.logs.size }}}}
    # The object store, and a GiB for others: engines' own messages, for example.
    - {name: shm, emptyDir: {medium: Memory, sizeLimit: "{{ add $root.Values.objectStoreBytes 1073741824 }}"}}
    {{- if $volume }}
    - {name: models, persistentVolumeClaim: {claimName: {{ include "winnow.weightsClaim" $root }}, readOnly: true}}
    {{- end }}
    {{- if $router }}
    {{- if $root.Values.journals.persistent }}
    - {name: journals, persistentVolumeClaim: {claimName: {{ include "winnow.journalsClaim" $root }}}}
    {{- else }}
    - {name: journals, emptyDir: {sizeLimit: {{ $root.Values.journals.size }}}}
    {{- end }}
    - {name: keys, secret: {secretName: {{ $root.Values.secrets.keys }}, items: [{key: keys.json, path: keys.json}]}}
    {{- end }}
    {{- if $database }}
    - name: control
      secret:
        secretName: {{ $root.Values.secrets.control }}
        items:
          - {key: database_url, path: database_url}
          {{- if and $router $root.Values.redis.address }}
          - {key: redis_url, path: redis_url}
          {{- end }}
    {{- end }}
    {{- if $qdrant }}
    - {name: qdrant, secret: {secretName: {{ $root.Values.secrets.qdrant }}, items: [{key: api_key, path: api_key}]}}
    {{- end }}
{{- end -}}
