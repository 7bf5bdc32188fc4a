/**
 * Alerts in a real Alertmanager with the project's routes: who is notified, what is inhibited, and whether the end is notified
 * too.
 */
import { type ChildProcess, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { dump, load } from "js-yaml"
import { afterAll, beforeAll, expect, it, vi } from "vitest"
import { freePort } from "../harness/network/free-port.ts"
import { neverOrphan } from "../harness/orphans.ts"
import { ensureProgram } from "../harness/programs.ts"

const SOON = { timeout: 60_000, interval: 100 }

interface Route {
  matchers?: string[]
  receiver: string
  group_wait?: string
  routes?: Route[]
}

let directory: string
let alertmanager: ChildProcess
let url: string
let hook: Server
/** As `RECEIVER STATUS ALERT SEVERITY NAMESPACE`, in order. */
const told: string[] = []

beforeAll(async () => {
  hook = createServer((request, response) => {
    let body = ""
    request.on("data", (data) => {
      body += data
    })
    request.on("end", () => {
      for (const { status, labels } of JSON.parse(body).alerts)
        told.push(
          [request.url!.slice(1), status, labels.alertname, labels.severity, labels.namespace].join(" "),
        )
      response.end()
    })
  })
  hook.listen(0, "127.0.0.1")
  await once(hook, "listening")
  const { port } = hook.address() as AddressInfo
  const file = join(import.meta.dirname, "../../observability/alertmanager/alertmanager.yml")
  const configuration = load(await readFile(file, "utf8")) as { route: Route; receivers: unknown[] }
  // The project's routes, without their waits, to receivers that say which one was used.
  Object.assign(configuration.route, { group_wait: "1s", group_interval: "1s" })
  for (const route of configuration.route.routes!) {
    route.receiver = route.matchers!.join().includes("critical") ? "critical" : "info"
    route.group_wait = "1s"
  }
  configuration.receivers = ["nobody", "critical", "info"].map((name) => ({
    name,
    webhook_configs: [{ url: `http://127.0.0.1:${port}/${name}`, send_resolved: true }],
  }))
  directory = await mkdtemp(join(tmpdir(), "unseal-alertmanager-"))
  await writeFile(join(directory, "alertmanager.yml"), dump(configuration))
  const program = await ensureProgram(["prometheus-alertmanager", "alertmanager"], {
    packages: { apt: "prometheus-alertmanager" },
  })
  const listening = await freePort()
  url = `http://127.0.0.1:${listening}`
  alertmanager = spawn(
    program,
    [
      `--config.file=${join(directory, "alertmanager.yml")}`,
      `--storage.path=${join(directory, "data")}`,
      `--web.listen-address=127.0.0.1:${listening}`,
      "--cluster.listen-address=",
    ],
    { stdio: "ignore" },
  )
  neverOrphan(alertmanager)
  await vi.waitFor(async () => expect((await fetch(`${url}/-/ready`)).ok).toBe(true), SOON)
})
afterAll(async () => {
  if (alertmanager?.exitCode === null) {
    alertmanager.kill("SIGKILL")
    await once(alertmanager, "exit")
  }
  hook?.closeAllConnections()
  hook?.close()
  if (directory) await rm(directory, { recursive: true, force: true })
})

/** Reports what fires (or, with `endsAt`, has ended), as Prometheus does. */
async function tell(alerts: readonly Record<string, string>[], endsAt?: Date): Promise<void> {
  const answer = await fetch(`${url}/api/v2/alerts`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(
      alerts.map((labels) => ({ labels, annotations: { summary: "s" }, ...(endsAt && { endsAt }) })),
    ),
  })
  expect(answer.status).toBe(200)
}

const alert = (alertname: string, severity: string, more: Record<string, string> = {}) => ({
  ...{ alertname, severity, namespace: "unseal", ...more },
})

it("notifies of the worse of two limits, and of Redis instead of what it explains, but not in another namespace", async () => {
  const suspended = { project: "1", side: "source" }
  await tell([
    alert("UnsealSuspended", "warning", suspended),
    alert("UnsealSuspended", "critical", suspended),
    // Another side of the same project is a separate trouble.
    alert("UnsealSuspended", "warning", { ...suspended, side: "keys" }),
    alert("UnsealRedisUnavailable", "critical"),
    alert("UnsealIngestRefusing", "critical"),
    alert("UnsealIngestRefusing", "critical", { namespace: "other" }),
    alert("UnsealRedisRestarted", "info"),
  ])
  const expected = [
    "critical firing UnsealIngestRefusing critical other",
    "critical firing UnsealRedisUnavailable critical unseal",
    "critical firing UnsealSuspended critical unseal",
    "info firing UnsealRedisRestarted info unseal",
    "nobody firing UnsealSuspended warning unseal",
  ]
  await expect.poll(() => [...new Set(told)].toSorted(), SOON).toEqual(expected)
  // An inhibited alert would have come with its group.
  await new Promise((resolve) => setTimeout(resolve, 4_000))
  expect([...new Set(told)].toSorted()).toEqual(expected)
  const { length } = told
  await tell([alert("UnsealRedisUnavailable", "critical")], new Date())
  await expect
    .poll(() => told.slice(length), SOON)
    .toContain("critical resolved UnsealRedisUnavailable critical unseal")
  // It no longer explains this one.
  await expect
    .poll(() => told.slice(length), SOON)
    .toContain("critical firing UnsealIngestRefusing critical unseal")
})
