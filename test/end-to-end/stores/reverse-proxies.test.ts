/** Ingest behind real nginx and haproxy: a callback's sender is the peer of the outermost proxy. */
import { once } from "node:events"
import { mkdirSync, writeFileSync } from "node:fs"
import { request } from "node:http"
import { userInfo } from "node:os"
import { join } from "node:path"
import { parseNetworks, trustProxies } from "@unseal/service/http/networks"
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest"
import { createServerGroup, type ServerGroup } from "../../compatibility/server-process.ts"
import { startApp, type TestApp, uploaded } from "../../harness/ingest/ingest-app.ts"
import { freePorts } from "../../harness/network/free-port.ts"
import { ensureProgram } from "../../harness/programs.ts"

/** Addresses of the loopback network, which has sixteen million. Proxies connect from 127.0.0.1. */
const VENDOR = "127.0.0.7"
const STRANGER = "127.0.0.8"

let app: TestApp
const groups: ServerGroup[] = []
/** Where each proxy listens. They forward to `upstream`, which is known only once the app has started. */
let ports: { app: number; nginx: number; haproxy: number; chain: number }

beforeAll(async () => {
  const [nginx, haproxy] = [
    await ensureProgram("nginx", {
      packages: { apt: "nginx-light", dnf: "nginx", apk: "nginx", brew: "nginx" },
    }),
    await ensureProgram("haproxy", {
      packages: { apt: "haproxy", dnf: "haproxy", apk: "haproxy", brew: "haproxy" },
    }),
  ]
  app = await startApp({
    networks: parseNetworks(VENDOR),
    proxies: trustProxies(parseNetworks("127.0.0.1")),
  })
  const [nginxPort, haproxyPort, chainPort] = (await freePorts(3)) as [number, number, number]
  ports = { app: app.port, nginx: nginxPort, haproxy: haproxyPort, chain: chainPort }
  await startNginx(nginx)
  await startHaproxy(haproxy)
})
afterAll(async () => {
  for (const group of groups) await group.close()
  await app.close()
})

async function startNginx(program: string): Promise<void> {
  const group = createServerGroup("nginx")
  groups.push(group)
  const at = (name: string) => join(group.directory, name)
  mkdirSync(at("temporary"))
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
    (kind) => `${kind}_temp_path ${at("temporary")}/${kind};`,
  )
  writeFileSync(
    at("nginx.conf"),
    `daemon off; pid ${at("nginx.pid")}; error_log stderr crit;
    ${userInfo().uid === 0 ? `user ${userInfo().username};` : ""}
    events {}
    http {
      access_log off; ${temporary.join(" ")}
      server {
        listen 127.0.0.1:${ports.nginx};
        location / {
          proxy_pass http://127.0.0.1:${ports.app};
          proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }
      }
    }`,
  )
  await group.start(program, ["-p", group.directory, "-c", at("nginx.conf"), "-e", "stderr"], [ports.nginx])
}

/** One in front of ingest, and one in front of nginx. */
async function startHaproxy(program: string): Promise<void> {
  const group = createServerGroup("haproxy")
  groups.push(group)
  const file = join(group.directory, "haproxy.cfg")
  const listener = (name: string, port: number, upstream: number) => `
listen ${name}
  bind 127.0.0.1:${port}
  option forwardfor
  server upstream 127.0.0.1:${upstream}
`
  writeFileSync(
    file,
    `global
  maxconn 100
defaults
  mode http
  timeout connect 60s
  timeout client 60s
  timeout server 60s
${listener("alone", ports.haproxy, ports.app)}${listener("chain", ports.chain, ports.nginx)}`,
  )
  await group.start(program, ["-db", "-f", file], [ports.haproxy, ports.chain])
}

/** Posts a callback from `sender` through the proxy on `port`. */
async function post(port: number, sender: string, headers: Record<string, string> = {}): Promise<number> {
  const outgoing = request({
    ...{
      host: "127.0.0.1",
      port,
      localAddress: sender,
      method: "POST",
      path: "/callbacks/100",
      agent: false,
    },
    headers: { "content-type": "application/json", ...headers },
  })
  outgoing.end(JSON.stringify(uploaded({ id: crypto.randomUUID() })))
  const [response] = await once(outgoing, "response")
  response.resume()
  await once(response, "end")
  return response.statusCode
}

describe.each(["nginx", "haproxy", "chain"] as const)("behind %s", (name) => {
  beforeEach(() => {
    app.logs.length = 0
  })
  afterEach(() => {
    expect(app.logs.every(({ peer }) => peer !== "127.0.0.1")).toBe(true)
  })
  const peers = () => app.logs.filter(({ msg }) => `${msg}`.startsWith("callback")).map(({ peer }) => peer)

  it("the vendor is admitted, and the log has its address", async () => {
    expect(await post(ports[name], VENDOR)).toBe(202)
    await expect.poll(peers, { timeout: 60_000 }).toEqual([VENDOR])
  })

  it("a stranger is refused, whatever address it claims", async () => {
    expect(await post(ports[name], STRANGER)).toBe(401)
    expect(await post(ports[name], STRANGER, { "x-forwarded-for": VENDOR })).toBe(401)
    expect(await post(ports[name], STRANGER, { "x-forwarded-for": `${VENDOR}, 127.0.0.1` })).toBe(401)
  })

  it("the vendor is admitted, whatever precedes its address in the header", async () => {
    expect(await post(ports[name], VENDOR, { "x-forwarded-for": "6.6.6.6" })).toBe(202)
    await expect.poll(peers, { timeout: 60_000 }).toEqual([VENDOR])
  })

  it("the other kind of header, which the proxy passes on, makes nobody the vendor", async () => {
    const jobs = app.jobs.length
    expect(await post(ports[name], STRANGER, { forwarded: `for=${VENDOR}` })).toBe(503)
    expect(app.jobs).toHaveLength(jobs)
  })
})

it("a client that connects without a proxy is cut off, whatever its headers say", async () => {
  await expect(post(ports.app, STRANGER, { "x-forwarded-for": VENDOR })).rejects.toThrow()
})
