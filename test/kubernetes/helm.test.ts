import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { gzipSync } from "node:zlib"
import { VERSION } from "@unseal/service/version"
import { load, loadAll } from "js-yaml"
import { expect, test } from "vitest"
import { ALL, objectsOf, renderFirst } from "./rendered.ts"
import { helm, K8S, type KubernetesObject } from "./tools.ts"

renderFirst()

const CHART = join(K8S, "helm/unseal")
const values = (name: string) => ["-f", join(K8S, "helm/values", `${name}.yaml`)]
const VARIANT = [
  ...["redis.enabled=false", "autoscaling.kind=hpa", "callbacks.gateway.enabled=true"],
  "secrets.accessKeys=unseal-aws",
]
const ARGUMENTS: Record<(typeof ALL)[number], readonly string[]> = {
  minimal: [],
  production: values("production"),
  aws: [...values("production"), ...values("aws")],
  azure: [...values("production"), ...values("azure")],
  variant: VARIANT.flatMap((each) => ["--set", each]),
}

/** An object without what may differ: labels but Grafana's, the order of volumes, and how the projects are written. */
function compared(object: KubernetesObject): KubernetesObject {
  const { labels, ...rest } = object.metadata
  const metadata = { ...rest, dashboard: labels?.grafana_dashboard }
  const sorted = (_: string, value: unknown) =>
    Array.isArray(value) && value.every((each) => each?.name !== undefined)
      ? value.toSorted((a, b) => (a.name < b.name ? -1 : 1))
      : value
  const projects = object.data?.["projects.yaml"]
  return JSON.parse(
    JSON.stringify({ ...object, metadata, ...(projects && { data: load(projects) }) }, sorted),
  )
}

test.each(ALL)("the chart makes the same objects as kustomize: %s", async (overlay) => {
  const text = await helm(
    "template",
    "unseal",
    CHART,
    "-n",
    "unseal",
    "--set",
    "namespace.create=true",
    ...ARGUMENTS[overlay],
  )
  const byName = (objects: KubernetesObject[]) =>
    Object.fromEntries(objects.map((object) => [`${object.kind}/${object.metadata.name}`, compared(object)]))
  // The variant differs in its projects, and in its lack of a Redis.
  const isOwn = ({ kind, metadata }: KubernetesObject) =>
    overlay !== "variant" || (kind !== "ConfigMap" && metadata.name !== "unseal-to-redis")
  const fromHelm = (loadAll(text) as KubernetesObject[]).filter((object) => object && isOwn(object))
  expect(byName(fromHelm)).toEqual(byName(objectsOf(overlay).filter(isOwn)))
})

test("the chart's alerts link to where the runbook is read", async () => {
  const published = "https://wiki.example.com/unseal/runbook"
  const args = ["--set", "monitoring.enabled=true", "--set", `monitoring.runbook=${published}`]
  const objects = loadAll(await helm("template", "unseal", CHART, ...args)) as KubernetesObject[]
  const { groups } = objects.find((object) => object?.kind === "PrometheusRule")!.spec
  const links = groups.flatMap(({ rules }: KubernetesObject) =>
    rules.flatMap(({ alert, annotations }: KubernetesObject) => (alert ? [annotations.runbook_url] : [])),
  )
  expect(links.length).toBeGreaterThan(30)
  for (const link of links)
    expect(link).toMatch(/^https:\/\/wiki\.example\.com\/unseal\/runbook#unseal[a-z]+$/)
})

test("helm lint finds nothing, whatever the values", async () => {
  for (const overlay of ALL)
    expect(await helm("lint", "--strict", CHART, ...ARGUMENTS[overlay])).toContain("0 chart(s) failed")
})

test("a release fills at most half of the Secret that Helm keeps it in", async () => {
  const files = await readdir(CHART, { recursive: true, withFileTypes: true })
  const contents = files
    .filter((file) => file.isFile())
    .map((file) => readFile(join(file.parentPath, file.name), "base64"))
  const manifest = await helm("template", "unseal", CHART, "-n", "unseal", ...ARGUMENTS.aws)
  const release = JSON.stringify({ chart: await Promise.all(contents), manifest })
  // Helm compresses a release, and encodes it twice.
  expect((gzipSync(release).length * 4 * 4) / (3 * 3)).toBeLessThan(512 * 1024)
})

test("the chart has this version", async () => {
  const chart = load(await readFile(join(CHART, "Chart.yaml"), "utf8")) as KubernetesObject
  expect([chart.version, chart.appVersion]).toEqual([VERSION, VERSION])
})

test.each([
  ["a misspelt value", "worker: { replica: 3 }", /additional properties 'replica' not allowed/],
  [
    "a number of bytes, which Helm would write as a float",
    "autoscaling: { bytesPerWorker: 30000000000 }",
    /got number, want string/,
  ],
  [
    "an id that is a number",
    "projects: [{ id: 123456, source: a, destination: b, keys: c }]",
    /got number, want string/,
  ],
  ["a scale-in that is too quick", "autoscaling: { scaleDownStabilizationSeconds: 10 }", /minimum/],
  ["no project", "projects: []", /minItems/],
])("the schema refuses %s", async (_, yaml, message) => {
  const folder = await mkdtemp(join(tmpdir(), "unseal-values-"))
  try {
    await writeFile(join(folder, "values.yaml"), yaml)
    await expect(helm("template", "unseal", CHART, "-f", join(folder, "values.yaml"))).rejects.toThrow(
      message,
    )
  } finally {
    await rm(folder, { recursive: true })
  }
})
