{{- define "unseal.labels" -}}
app.kubernetes.io/name: unseal
app.kubernetes.io/part-of: unseal
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "unseal.image" -}}
image: {{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- with .Values.image.pullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
{{- end }}

{{- define "unseal.containerSecurity" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
{{- end }}

{{/* The pod's fields that do not depend on its containers. */}}
{{- define "unseal.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 10001
  runAsGroup: 10001
  fsGroup: 10001
  seccompProfile:
    type: RuntimeDefault
{{- end }}

{{/* As YAML lists and maps: what a process that reaches stores has besides, if it takes access keys. */}}
{{- define "unseal.accessKeys.mounts" -}}
{{- with .Values.secrets.accessKeys }}
- { name: aws, secret: {{ . }} }
{{- end }}
{{- end }}

{{- define "unseal.accessKeys.env" -}}
{{- if .Values.secrets.accessKeys }}
AWS_SHARED_CREDENTIALS_FILE: /etc/unseal/aws/credentials
{{- end }}
{{- end }}

{{- define "unseal.env" -}}
- name: REDIS_URL_FILE
  value: /etc/unseal/redis/url
- name: UNSEAL_PROJECTS_FILE
  value: /etc/unseal/projects/projects.yaml
{{- range $name, $value := . }}
- name: {{ $name }}
  value: {{ $value | quote }}
{{- end }}
{{- end }}

{{- define "unseal.spread" -}}
topologySpreadConstraints:
{{- $component := . }}
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        app.kubernetes.io/name: unseal
        app.kubernetes.io/component: {{ $component }}
{{- end }}
{{- end }}

{{- define "unseal.probes" -}}
startupProbe:
  httpGet:
    path: /healthz
    port: admin
  periodSeconds: 1
  failureThreshold: 60
livenessProbe:
  httpGet:
    path: /healthz
    port: admin
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
readinessProbe:
  httpGet:
    path: /readyz
    port: admin
  periodSeconds: 5
  timeoutSeconds: 5
{{- end }}

{{/* Volumes, or their mounts: of the secrets that a component reads, by name. */}}
{{- define "unseal.mounts" -}}
- name: tmp
  mountPath: /tmp
{{- range concat (list (dict "name" "redis") (dict "name" "projects")) . }}
- name: {{ .name }}
  mountPath: {{ .path | default (printf "/etc/unseal/%s" .name) }}
  readOnly: true
{{- end }}
{{- end }}

{{- define "unseal.volumes" -}}
- name: tmp
  emptyDir:
    sizeLimit: 64Mi
- name: projects
  configMap:
    name: unseal-projects
{{- range concat (list (dict "name" "redis" "secret" .root.Values.secrets.redis)) .mounts }}
- name: {{ .name }}
  secret:
    secretName: {{ .secret }}
    defaultMode: 288
{{- end }}
{{- end }}

{{- define "unseal.queries.bytes" -}}
sum(max by (state) (max_over_time(unseal_queue_backlog_bytes{namespace="{{ .Release.Namespace }}",state=~"waiting|active"}[1m]))) / {{ .Values.autoscaling.bytesPerWorker }}
{{- end }}

{{- define "unseal.queries.age" -}}
max(max_over_time(unseal_queue_oldest_seconds{namespace="{{ .Release.Namespace }}"}[1m])) / {{ .Values.autoscaling.secondsPerWorker }} * (max(max_over_time(unseal_queue_backlog_bytes{namespace="{{ .Release.Namespace }}",state="waiting"}[1m])) > bool 0)
{{- end }}

{{- define "unseal.behavior" -}}
scaleUp:
  stabilizationWindowSeconds: 0
  policies:
    - type: Percent
      value: 100
      periodSeconds: 60
    - type: Pods
      value: 4
      periodSeconds: 60
  selectPolicy: Max
scaleDown:
  stabilizationWindowSeconds: {{ .Values.autoscaling.scaleDownStabilizationSeconds }}
  policies:
    - type: Percent
      value: 50
      periodSeconds: 60
{{- end }}
