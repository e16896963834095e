{{/* The profile with the values merged over it, as JSON, which is YAML too. Helm 3 would write large
     numbers of a YAML file as 2e+07, and JSON's it writes out. */}}
{{- define "winnow.serveConfig" -}}
{{- $file := .Files.Get (printf "profiles/%s.yaml" .Values.profile) -}}
{{- if not $file -}}
{{- fail (printf "there is no profile '%s' in the chart's profiles/" .Values.profile) -}}
{{- end -}}
{{- $config := mergeOverwrite (fromYaml $file) (deepCopy .Values.serve.config) -}}
{{- if not $config.http_options -}}
{{- fail (printf "%s is laid over another profile: name that one" .Values.profile) -}}
{{- end -}}
{{- if or (ne $config.http_options.host "0.0.0.0") (ne (int $config.http_options.port) 8000) -}}
{{- fail (printf "%s is a profile for one machine: set serve.config.http_options to host 0.0.0.0, port 8000" .Values.profile) -}}
{{- end -}}
{{- $app := first $config.applications -}}
{{- $args := mergeOverwrite $app.args (deepCopy .Values.serve.args) -}}
{{- $control := $args.router.control -}}
{{- if not .Values.redis.address -}}
{{- $_ := unset $control "redis_url_file" -}}
{{- end -}}
{{- if eq .Values.store.engine "qdrant" -}}
{{- $index := dict "engine" "qdrant" "url" (required "store.qdrant.url is needed" .Values.store.qdrant.url) -}}
{{- if .Values.secrets.qdrant -}}
{{- $_ := set $index "api_key_file" "/etc/winnow/qdrant/api_key" -}}
{{- end -}}
{{- $_ := set $args "index" (mergeOverwrite $index (.Values.serve.args.index | default dict)) -}}
{{- end -}}
{{- $known := list -}}
{{- range $app.deployments -}}
{{- $known = append $known .name -}}
{{- $_ := mergeOverwrite . (deepCopy (get $.Values.serve.deployments .name | default dict)) -}}
{{- end -}}
{{- range $name := keys .Values.serve.deployments -}}
{{- if not (has $name $known) -}}
{{- fail (printf "serve.deployments: the profile has no '%s', but %s" $name (join ", " $known)) -}}
{{- end -}}
{{- end -}}
{{- range $name, $rules := .Values.serve.scaling -}}
{{- $stages := $app.autoscaling_policy.policy_kwargs.stages -}}
{{- if not (hasKey $stages $name) -}}
{{- fail (printf "serve.scaling: the profile's policy has no '%s'" $name) -}}
{{- end -}}
{{- $_ := mergeOverwrite (get $stages $name) (deepCopy $rules) -}}
{{- end -}}
{{- toPrettyJson $config -}}
{{- end -}}

{{/* The names of deployments whose replicas may be placed in a group, by its labels, as JSON. The
     argument is a list: the profile's deployments, the group. */}}
{{- define "winnow.placed" -}}
{{- $group := index . 1 -}}
{{- $labels := merge (dict "winnow/role" $group.role) $group.labels -}}
{{- $placed := list -}}
{{- range $deployment := index . 0 -}}
{{- $here := true -}}
{{- range $label, $value := dig "ray_actor_options" "label_selector" dict $deployment -}}
{{- /* Ray's operators, !a, in(a, b) and !in(a, b), are left to Ray. */ -}}
{{- if not (or (hasPrefix "!" $value) (hasPrefix "in(" $value)) -}}
{{- if ne $value (get $labels $label | toString) }}{{ $here = false }}{{ end -}}
{{- end -}}
{{- end -}}
{{- if $here }}{{ $placed = append $placed $deployment.name }}{{ end -}}
{{- end -}}
{{- toJson $placed -}}
{{- end -}}

{{/* Fails unless each deployment's replicas fit a group; Ray would wait for ever, and say nothing. The
     argument is a list: the profile's deployments, the groups. */}}
{{- define "winnow.checkFits" -}}
{{- $deployments := index . 0 -}}
{{- $groups := index . 1 -}}
{{- range $deployment := $deployments -}}
{{- $options := $deployment.ray_actor_options | default dict -}}
{{- $fits := false -}}
{{- range $group := $groups -}}
{{- if has $deployment.name (include "winnow.placed" (list $deployments $group) | fromJsonArray) -}}
{{- $room := subf (float64 $group.cpu) (float64 $group.reservedCpu) -}}
{{- if and (le (float64 (dig "num_cpus" 1 $options)) $room) (le (float64 (dig "num_gpus" 0 $options)) (float64 $group.gpus)) -}}
{{- $fits = true -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if not $fits -}}
{{- fail (printf "%s: no group has what its ray_actor_options ask for, beside its reservedCpu: %s" $deployment.name (toJson $options)) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Names and commits of the models, as JSON. Fails for one of the Hub without a commit. */}}
{{- define "winnow.models" -}}
{{- $config := include "winnow.serveConfig" . | fromJson -}}
{{- $models := list -}}
{{- range $part := list "embedder" "reranker" -}}
{{- $engine := (get (first $config.applications).args $part).engine -}}
{{- $revision := $engine.revision | default "" -}}
{{- if and (contains "/" $engine.model) (not (hasPrefix "/" $engine.model)) (not (regexMatch "^[0-9a-f]{40}$" $revision)) -}}
{{- fail (printf "%s is not pinned: set serve.args.%s.engine.revision to a commit of it, of 40 digits" $engine.model $part) -}}
{{- end -}}
{{- if not (contains "/" $engine.model) -}}
{{- fail (printf "serve.args.%s.engine.model: '%s' is neither a model of the Hub nor a directory of the image or the volume" $part $engine.model) -}}
{{- end -}}
{{- $models = append $models (dict "model" $engine.model "revision" $revision) -}}
{{- end -}}
{{- toJson $models -}}
{{- end -}}

{{/* A short name of these very models: that of the job that fetches them and of the file it leaves. */}}
{{- define "winnow.modelsDigest" -}}
{{- include "winnow.models" . | sha256sum | trunc 10 -}}
{{- end -}}
