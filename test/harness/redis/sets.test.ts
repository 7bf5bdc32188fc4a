import { Cluster, Redis } from "ioredis"
import { expect, test } from "vitest"
import { startCluster } from "./cluster.ts"
import { startSentinel } from "./sentinel.ts"
import { createTlsFiles, startTlsRedis } from "./tls.ts"

const portsOf = (url: string) => [...url.matchAll(/127\.0\.0\.1:(\d+)/g)].map(([, port]) => Number(port))

test.each(["kill", "command"] as const)("sentinels make a replica the master (%s)", async (how) => {
  const set = await startSentinel({ password: "pw", sentinelPassword: "spw" })
  const client = new Redis({
    sentinels: portsOf(set.url).map((port) => ({ host: "127.0.0.1", port })),
    ...{ name: "mymaster", password: "pw", sentinelPassword: "spw" },
  })
  client.on("error", () => {})
  try {
    await client.set("kept", "yes")
    expect(await client.wait(2, 5_000)).toBe(2)
    const before = await set.master()
    await set.failover(how)
    expect(await set.master()).not.toBe(before)
    expect(await client.get("kept")).toBe("yes")
    await set.stopSentinels()
    await expect(set.master()).rejects.toThrow()
    await set.startSentinels()
    expect(await set.master()).not.toBe(before)
  } finally {
    client.disconnect()
    await set.close()
  }
})

test("a cluster fails over and moves a slot", async () => {
  const cluster = await startCluster()
  const client = new Cluster(portsOf(cluster.url).map((port) => ({ host: "127.0.0.1", port })))
  client.on("error", () => {})
  try {
    for (let i = 0; i < 20; i++) await client.set(`{unseal}:${i}`, i)
    const before = await cluster.masterOf("unseal")
    let during: (string | null)[] = []
    await cluster.moveSlot("unseal", async () => {
      during = await Promise.all(Array.from({ length: 20 }, (_, i) => client.get(`{unseal}:${i}`)))
    })
    expect(during).toEqual(Array.from({ length: 20 }, (_, i) => String(i)))
    const moved = await cluster.masterOf("unseal")
    expect(moved).not.toBe(before)
    await cluster.failover("unseal")
    expect(await cluster.masterOf("unseal")).not.toBe(moved)
    expect(await client.get("{unseal}:7")).toBe("7")
  } finally {
    client.disconnect()
    await cluster.close()
  }
})

test("a server with TLS requires a client certificate", async () => {
  const files = createTlsFiles()
  const server = await startTlsRedis(files)
  const { readFileSync } = await import("node:fs")
  const read = (path: string) => readFileSync(path, "utf8")
  const connect = (tls: object) => {
    const client = new Redis(server.url, { tls, lazyConnect: true, retryStrategy: () => null })
    client.on("error", () => {})
    return client
  }
  const known = connect({ ca: read(files.ca), cert: read(files.clientCert), key: read(files.clientKey) })
  const unknown = connect({ ca: read(files.ca) })
  try {
    await known.connect()
    expect(await known.ping()).toBe("PONG")
    await expect(unknown.connect()).rejects.toThrow()
  } finally {
    known.disconnect()
    unknown.disconnect()
    await server.close()
    files.close()
  }
})
