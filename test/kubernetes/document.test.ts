import { execFile } from "node:child_process"
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import { loadAll } from "js-yaml"
import { afterAll, beforeAll, expect, test } from "vitest"
import { named, objectsOf, renderFirst, workloadsOf } from "./rendered.ts"
import { type KubernetesObject, toolPath } from "./tools.ts"
import { schemaProblems } from "./typed.ts"

renderFirst()

const run = promisify(execFile)
const ROOT = resolve(import.meta.dirname, "../..")
const BLOCK = /^```sh\n(.*?)^```$/gms

/** `apply` keeps what it is given; everything else is kubectl's own. */
const KUBECTL = `#!/bin/bash
set -eu
if [ "$1" != apply ]; then exec "$REAL_KUBECTL" "$@"; fi
out=$(mktemp "$APPLIED/XXXXXX.yaml")
case "$2" in
  -k) "$REAL_KUBECTL" kustomize "$3" > "$out" ;;
  -f) cat "\${3/#-/\\/dev\\/stdin}" > "$out" ;;
  *) echo "unexpected: $*" >&2; exit 1 ;;
esac
`

let folder: string
let applied: KubernetesObject[]
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "unseal-page-"))
  for (const name of ["home", "bin", "applied"]) await mkdir(join(folder, name))
  await writeFile(join(folder, "bin/kubectl"), KUBECTL, { mode: 0o755 })
  await symlink(await toolPath("helm"), join(folder, "bin/helm"))
  await writeFile(
    join(folder, "bin/unseal"),
    `#!/bin/sh\nexec "${process.execPath}" "${join(ROOT, "apps/cli/bin/unseal.mjs")}" "$@"\n`,
    { mode: 0o755 },
  )
  const page = await readFile(join(ROOT, "docs/kubernetes.md"), "utf8")
  const script = `set -euo pipefail\n${[...page.matchAll(BLOCK)].map(([, block]) => block).join("\n")}`
  await writeFile(join(folder, "page.sh"), script)
  const running = run("bash", [join(folder, "page.sh")], {
    cwd: ROOT,
    env: {
      HOME: join(folder, "home"),
      PATH: `${join(folder, "bin")}:${process.env.PATH}`,
      REAL_KUBECTL: await toolPath("kubectl"),
      APPLIED: join(folder, "applied"),
    },
  })
  running.child.stdin!.end("signature-secret-of-the-page\napi-secret-of-the-page\n")
  await running
  const files = await readdir(join(folder, "applied"))
  const texts = await Promise.all(files.map((name) => readFile(join(folder, "applied", name), "utf8")))
  applied = texts.flatMap((text) => loadAll(text) as KubernetesObject[])
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const secretNamed = (name: string) =>
  applied.find(({ kind, metadata }) => kind === "Secret" && metadata.name === name)
const contentOf = (secret: KubernetesObject, key: string) =>
  Buffer.from(secret.data[key], "base64").toString()

test("the page's commands apply valid objects, the whole overlay among them", async () => {
  expect(await schemaProblems(applied)).toEqual([])
  const names = applied.map(({ kind, metadata }) => `${kind}/${metadata.name}`)
  for (const { kind, metadata } of objectsOf("minimal")) expect(names).toContain(`${kind}/${metadata.name}`)
})

test("they make every Secret that a pod mounts, with every file that the project names, and no other", () => {
  const mounted = new Set<string>()
  for (const { template, container } of workloadsOf("minimal"))
    for (const { name, secret } of template.spec.volumes) {
      if (!secret) continue
      mounted.add(secret.secretName)
      const made = secretNamed(secret.secretName)
      expect(made?.metadata.namespace).toBe("unseal")
      const { mountPath } = container.volumeMounts.find((mount: KubernetesObject) => mount.name === name)
      const files = [
        ...(secret.items ?? []).map(({ key }: KubernetesObject) => `${mountPath}/${key}`),
        ...container.args.filter((text: string) => text.startsWith(`${mountPath}/`)),
        ...(container.env ?? []).map(({ value }: KubernetesObject) => value),
        ...named("minimal", "ConfigMap", "unseal-projects").data["projects.yaml"].match(/\/etc\/\S+/g),
      ].filter((path) => path.startsWith(`${mountPath}/`))
      for (const path of files) expect(Object.keys(made.data)).toContain(path.slice(mountPath.length + 1))
    }
  const made = applied.filter(({ kind }) => kind === "Secret").map(({ metadata }) => metadata.name)
  expect(made.toSorted()).toEqual([...mounted, "unseal-aws"].toSorted())
  expect(Object.keys(secretNamed("unseal-keys").data).toSorted()).toEqual(["2026.passphrase", "2026.pem"])
})

test("Redis and its clients get the same password, and clients its Service", () => {
  const secret = secretNamed("unseal-redis")
  const [, password] = /^requirepass (\w{48})\n$/.exec(contentOf(secret, "redis.conf"))!
  const url = new URL(contentOf(secret, "url"))
  expect([url.password, url.hostname, url.port]).toEqual([password, "unseal-redis", "6379"])
  expect(named("minimal", "Service", url.hostname).spec.ports[0].port).toBe(6379)
  expect(contentOf(secretNamed("unseal-callbacks"), "123456.signature")).toBe("signature-secret-of-the-page")
})

test("with the component for access keys, what reaches stores finds the Secret's file, and ingest does not", () => {
  expect(Object.keys(secretNamed("unseal-aws").data)).toEqual(["credentials"])
  const finders = workloadsOf("variant").filter(({ container, template }) => {
    const file = container.env?.find(({ name }: KubernetesObject) => name === "AWS_SHARED_CREDENTIALS_FILE")
    if (file === undefined) return false
    const { secret, name } = template.spec.volumes.find(
      ({ secret }: KubernetesObject) => secret?.secretName === "unseal-aws",
    )
    const mount = container.volumeMounts.find((mount: KubernetesObject) => mount.name === name)
    expect([secret.defaultMode, mount.readOnly]).toEqual([0o440, true])
    expect(file.value).toBe(`${mount.mountPath}/credentials`)
    return true
  })
  expect(finders.map(({ name }) => name).toSorted()).toEqual([
    ...["unseal-doctor", "unseal-janitor", "unseal-reconcile", "unseal-worker"],
  ])
})
