import { generateKeyPairSync } from "node:crypto"
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { dirname, join, resolve } from "node:path"
import { ADMIN_ENDPOINTS } from "@unseal/service/admin"
import { STOP_TIMEOUT_MS } from "@unseal/service/process"
import { readProjects } from "@unseal/service/projects/projects"
import { unknownNames } from "@unseal/service/settings/environment"
import { defaultOf, SETTINGS, type SettingName, settingRow } from "@unseal/service/settings/table"
import { VERSION } from "@unseal/service/version"
import { loadAll } from "js-yaml"
import { describe, expect, test } from "vitest"
import { ALL, matches, named, objectsOf, ownWorkloadsOf, renderFirst, workloadsOf } from "./rendered.ts"
import type { KubernetesObject } from "./tools.ts"
import { schemaProblems, typeProblems } from "./typed.ts"

renderFirst()

const KEY = generateKeyPairSync("rsa", {
  modulusLength: 2048,
  privateKeyEncoding: { type: "pkcs8", format: "pem" },
  publicKeyEncoding: { type: "spki", format: "pem" },
}).privateKey

describe.each(ALL)("%s", (overlay) => {
  test("has only valid objects, without unknown fields", async () => {
    expect(await schemaProblems(objectsOf(overlay))).toEqual([])
    expect(await typeProblems(objectsOf(overlay))).toBe("")
  })

  test("has each object once, in its namespace", () => {
    const names = objectsOf(overlay).map(({ kind, metadata }) => `${kind}/${metadata.name}`)
    expect(names.filter((name, index) => names.indexOf(name) !== index)).toEqual([])
    for (const { kind, metadata } of objectsOf(overlay))
      expect(metadata.namespace).toBe(kind === "Namespace" ? undefined : "unseal")
  })

  test("has no selector that selects nothing, and none that selects another component", () => {
    const workloads = workloadsOf(overlay)
    for (const { object, template } of workloads)
      if (object.spec.selector) expect(matches(object.spec.selector, template.metadata.labels)).toBe(true)
    const selecting: [string, KubernetesObject][] = [
      ...objectsOf(overlay, "Service").map(({ metadata, spec }) => [
        metadata.labels["app.kubernetes.io/component"],
        { matchLabels: spec.selector },
      ]),
      ...objectsOf(overlay, "PodDisruptionBudget").map(({ metadata, spec }) => [
        metadata.labels["app.kubernetes.io/component"],
        spec.selector,
      ]),
      ...workloads.flatMap(({ template }) =>
        (template.spec.topologySpreadConstraints ?? []).map(({ labelSelector }: KubernetesObject) => [
          template.metadata.labels["app.kubernetes.io/component"],
          labelSelector,
        ]),
      ),
    ] as [string, KubernetesObject][]
    expect(selecting.length).toBeGreaterThan(5)
    for (const [component, selector] of selecting) {
      const selected = workloads.filter(({ template }) => matches(selector, template.metadata.labels))
      expect(selected.map(({ template }) => template.metadata.labels["app.kubernetes.io/component"])).toEqual(
        [component],
      )
    }
    for (const { spec } of objectsOf(overlay, "NetworkPolicy", "PodMonitor")) {
      const selector = spec.podSelector ?? spec.selector
      expect(workloads.some(({ template }) => matches(selector, template.metadata.labels))).toBe(true)
    }
  })

  test("names every port that something refers to", () => {
    const workloads = workloadsOf(overlay)
    const portsOf = (selector: KubernetesObject) =>
      workloads
        .filter(({ template }) => matches(selector, template.metadata.labels))
        .map(({ container }) => (container.ports ?? []).map(({ name }: KubernetesObject) => name))
    for (const { spec } of objectsOf(overlay, "Service"))
      for (const { targetPort } of spec.ports)
        for (const names of portsOf({ matchLabels: spec.selector })) expect(names).toContain(targetPort)
    for (const { spec } of objectsOf(overlay, "PodMonitor"))
      for (const { port } of spec.podMetricsEndpoints)
        for (const names of portsOf(spec.selector)) expect(names).toContain(port)
    for (const { spec } of objectsOf(overlay, "NetworkPolicy"))
      for (const { ports = [] } of spec.ingress ?? [])
        for (const { port } of ports)
          for (const names of portsOf(spec.podSelector)) expect(names).toContain(port)
    for (const { spec } of objectsOf(overlay, "Ingress")) {
      const { service } = spec.rules[0].http.paths[0].backend
      const ports = named(overlay, "Service", service.name).spec.ports
      expect(ports.map(({ name }: KubernetesObject) => name)).toContain(service.port.name)
    }
    for (const { spec } of objectsOf(overlay, "HTTPRoute")) {
      const [{ name, port }] = spec.rules[0].backendRefs
      expect(named(overlay, "Service", name).spec.ports.map((each: KubernetesObject) => each.port)).toContain(
        port,
      )
    }
  })

  test("probes and scrapes paths that the processes serve, on the ports that are their defaults", () => {
    for (const { container, process } of ownWorkloadsOf(overlay)) {
      if (process === "cli") continue
      const ports = Object.fromEntries(
        container.ports.map((port: KubernetesObject) => [port.name, port.containerPort]),
      )
      expect(ports.admin).toBe(Number(defaultOf("UNSEAL_ADMIN_PORT", process!)))
      expect(ports.http).toBe(process === "worker" ? undefined : Number(defaultOf("UNSEAL_PORT", process!)))
      for (const probe of ["startupProbe", "livenessProbe", "readinessProbe"]) {
        const { path, port } = container[probe].httpGet
        expect([path, port]).toEqual([probe === "readinessProbe" ? "/readyz" : "/healthz", "admin"])
        expect(Object.keys(ADMIN_ENDPOINTS)).toContain(path)
      }
    }
    for (const { spec } of objectsOf(overlay, "PodMonitor"))
      for (const { path } of spec.podMetricsEndpoints) expect(Object.keys(ADMIN_ENDPOINTS)).toContain(path)
  })

  test("sets only settings that the process reads, and secrets only by file", () => {
    for (const { container, process } of ownWorkloadsOf(overlay)) {
      const env = Object.fromEntries(container.env.map(({ name, value }: KubernetesObject) => [name, value]))
      expect(unknownNames(env)).toEqual([])
      for (const name of Object.keys(env).filter((name) => name !== "AWS_SHARED_CREDENTIALS_FILE")) {
        const setting = (name in SETTINGS ? name : name.replace(/_FILE$/, "")) as SettingName
        const row = settingRow(setting)
        expect(row.for).toContain(process)
        if (row.secret) expect(name).toBe(`${setting}_FILE`)
      }
    }
  })

  test("gives each process the files that its projects need, and ingest nothing else", async () => {
    const projectsFile = named(overlay, "ConfigMap", "unseal-projects").data["projects.yaml"]
    if (overlay === "variant") return
    const { projects } = loadAll(projectsFile)[0] as KubernetesObject
    const paths: string[] = projects.flatMap((project: KubernetesObject) =>
      Object.values(project).filter((value) => typeof value === "string" && value.startsWith("/")),
    )
    expect(paths.length).toBeGreaterThan(2)
    for (const { name, container, template, process } of ownWorkloadsOf(overlay)) {
      // It reads no projects: a test of its own says what it has.
      if (process === "console") continue
      const root = await mkdtemp(join(tmpdir(), "unseal-mounts-"))
      try {
        const mounts: string[] = container.volumeMounts.map(({ mountPath }: KubernetesObject) => mountPath)
        const names = template.spec.volumes.map((volume: KubernetesObject) => volume.name)
        expect(container.volumeMounts.map((mount: KubernetesObject) => mount.name).toSorted()).toEqual(
          names.toSorted(),
        )
        for (const path of paths.filter((path) => mounts.some((mount) => path.startsWith(`${mount}/`)))) {
          await mkdir(dirname(join(root, path)), { recursive: true })
          await writeFile(join(root, path), path.endsWith(".pem") ? KEY : "a secret of more than 16 bytes")
        }
        for (const mount of mounts) await mkdir(join(root, mount), { recursive: true })
        const file = join(root, "etc/unseal/projects/projects.yaml")
        await writeFile(file, projectsFile.replaceAll(": /etc/", `: ${root}/etc/`))
        expect(container.env).toContainEqual({
          name: "UNSEAL_PROJECTS_FILE",
          value: "/etc/unseal/projects/projects.yaml",
        })
        const env = { UNSEAL_PROJECTS_FILE: file }
        const readers = {
          "unseal-ingest": ["ingest"],
          "unseal-worker": ["worker"],
          "unseal-reconcile": ["destination", "vendor"],
          "unseal-janitor": ["destination"],
          "unseal-doctor": ["worker", "ingest", "vendor"],
        }[name] as ("ingest" | "worker" | "destination" | "vendor")[]
        for (const reader of readers)
          expect(readProjects({ for: reader, env }).ids).toHaveLength(projects.length)
        if (name === "unseal-ingest")
          expect(mounts.toSorted()).toEqual([
            "/etc/unseal/callbacks",
            "/etc/unseal/projects",
            "/etc/unseal/redis",
            "/tmp",
          ])
      } finally {
        await rm(root, { recursive: true })
      }
    }
  })

  test("gives the console its users and the way to Redis, and neither keys nor credentials", () => {
    const console = ownWorkloadsOf(overlay).find(({ process }) => process === "console")
    if (overlay === "minimal" || overlay === "variant") return expect(console).toBeUndefined()
    const { container, template } = console!
    expect(container.volumeMounts.map(({ mountPath }: KubernetesObject) => mountPath).toSorted()).toEqual([
      "/etc/unseal/console",
      "/etc/unseal/redis",
      "/tmp",
    ])
    expect(template.spec.volumes.flatMap(({ secret }: KubernetesObject) => secret?.secretName ?? [])).toEqual(
      ["unseal-redis", "unseal-console"],
    )
    expect(Object.keys(template.metadata.labels).join()).not.toContain("azure")
  })

  test("runs every container restricted, without a token, on a read-only file system", () => {
    for (const { template } of workloadsOf(overlay)) {
      const { securityContext, automountServiceAccountToken, enableServiceLinks } = template.spec
      expect(automountServiceAccountToken).toBe(false)
      expect(enableServiceLinks).toBe(false)
      expect(securityContext).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: "RuntimeDefault" },
      })
      for (const container of [...(template.spec.initContainers ?? []), ...template.spec.containers]) {
        expect(container.securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        })
        expect(container.resources.limits.memory).toMatch(/Mi$/)
        expect(container.resources.requests.memory).toMatch(/Mi$/)
      }
    }
    expect(named(overlay, "Namespace", "unseal").metadata.labels["pod-security.kubernetes.io/enforce"]).toBe(
      "restricted",
    )
  })

  test("runs this version, and no image without a version", () => {
    for (const { template, process } of workloadsOf(overlay))
      for (const { image } of template.spec.containers) {
        expect(image).toMatch(/^[a-z]+:\d+\.\d+\.\d+$/)
        if (process !== null) expect(image).toBe(`unseal:${VERSION}`)
      }
  })

  test("waits for a stop longer than a process needs", () => {
    for (const { template, container, process } of ownWorkloadsOf(overlay)) {
      if (process === "cli") continue
      const { terminationGracePeriodSeconds } = template.spec
      const drainSeconds = container.lifecycle?.preStop.sleep.seconds ?? 0
      expect(terminationGracePeriodSeconds).toBeGreaterThan(drainSeconds + STOP_TIMEOUT_MS / 1_000)
      expect(drainSeconds > 0).toBe(process === "ingest")
    }
  })

  test("denies what no policy names, both ways, and each process reaches what it needs", () => {
    expect(named(overlay, "NetworkPolicy", "unseal-default-deny").spec).toEqual({
      podSelector: {},
      policyTypes: ["Ingress", "Egress"],
    })
    const flowsOf = (labels: KubernetesObject, direction: "ingress" | "egress") =>
      objectsOf(overlay, "NetworkPolicy")
        .filter(({ spec }) => matches(spec.podSelector, labels))
        .flatMap(({ spec }) => spec[direction] ?? [])
        .flatMap(({ ports }) => ports.map(({ port }: KubernetesObject) => port))
    const redis = overlay === "variant" ? [] : overlay === "minimal" ? ["redis"] : [6379, 26379]
    const identity = overlay === "aws" ? [80] : []
    for (const { process, template } of ownWorkloadsOf(overlay)) {
      const { labels } = template.metadata
      const stores = process === "ingest" || process === "console" ? [] : [443, ...identity]
      expect(new Set(flowsOf(labels, "egress"))).toEqual(new Set([53, ...redis, ...stores]))
      const scraped = process === "cli" ? [] : ["admin"]
      expect(new Set(flowsOf(labels, "ingress"))).toEqual(
        new Set(process === "ingest" || process === "console" ? ["http", "admin"] : scraped),
      )
    }
  })

  test("scales one thing in one way: by a number, or by an autoscaler between 1 and more, and in slowly", () => {
    const scalers = objectsOf(overlay, "ScaledObject", "HorizontalPodAutoscaler")
    const { replicas } = named(overlay, "Deployment", "unseal-worker").spec
    expect(scalers.length).toBe(overlay === "minimal" ? 0 : 1)
    expect(replicas === undefined).toBe(scalers.length === 1)
    for (const { kind, spec } of scalers) {
      expect(spec.scaleTargetRef.name).toBe("unseal-worker")
      expect(kind === "ScaledObject" ? spec.minReplicaCount : spec.minReplicas).toBe(1)
      const behavior = spec.behavior ?? spec.advanced.horizontalPodAutoscalerConfig.behavior
      expect(behavior.scaleDown.stabilizationWindowSeconds).toBeGreaterThanOrEqual(300)
    }
  })
})

test("production has every board, for Grafana's sidecar, and none is too large for kubectl apply", async () => {
  const boards = objectsOf("production", "ConfigMap").filter(
    ({ metadata }) => metadata.labels.grafana_dashboard === "1",
  )
  const files = boards.flatMap(({ data }) => Object.keys(data))
  const folder = resolve(import.meta.dirname, "../../observability/grafana/dashboards")
  expect(files.toSorted()).toEqual((await readdir(folder)).toSorted())
  for (const { data, metadata } of boards) {
    expect(metadata.annotations).toEqual({ grafana_folder: "Unseal" })
    for (const [name, content] of Object.entries<string>(data)) {
      expect(JSON.parse(content)).toEqual(JSON.parse(await readFile(join(folder, name), "utf8")))
      // It keeps the whole object in an annotation.
      expect(JSON.stringify(content).length).toBeLessThan(200_000)
    }
  }
})

test("a field that does not exist, and a value that can't be, are found", async () => {
  const worker = structuredClone(named("minimal", "Deployment", "unseal-worker"))
  worker.spec.template.spec.containers[0].readynessProbe = {}
  expect(await typeProblems([worker])).toContain("readynessProbe")
  worker.spec.template.spec.containers[0].resources.limits.memory = "256 MiB"
  expect(await schemaProblems([worker])).toEqual([expect.stringContaining("unseal-worker")])
})
