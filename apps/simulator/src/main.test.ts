import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { createServer } from "node:http"
import { get } from "node:https"
import type { AddressInfo } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { openKeyDirectory } from "@unseal/archive/keys/directory"
import { runCli } from "@unseal/test/harness/process"
import { afterAll, describe, expect, test } from "vitest"

const directory = mkdtempSync(join(tmpdir(), "simulator-"))
const children: ChildProcess[] = []
afterAll(() => {
  for (const child of children) child.kill("SIGKILL")
  rmSync(directory, { recursive: true })
})

function start(env: Record<string, string>) {
  const child = spawn(process.execPath, [new URL("../bin/unseal-simulator.mjs", import.meta.url).pathname], {
    env: { PATH: process.env.PATH!, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  })
  children.push(child)
  const lines: string[] = []
  let errors = ""
  child.stderr.on("data", (chunk) => {
    errors += chunk
  })
  const exit = new Promise<number | null>((resolve) => child.once("close", resolve))
  const listening = new Promise<{ ports: { control: number; s3: number; rest: number } }>(
    (resolve, reject) => {
      createInterface({ input: child.stdout }).on("line", (line) => {
        lines.push(line)
        const entry = JSON.parse(line)
        if (entry.msg === "listening") resolve(entry)
      })
      exit.then((code) => reject(new Error(`exit code ${code}: ${errors}`)))
    },
  )
  listening.catch(() => {})
  return { child, lines, exit, listening, errors: () => errors }
}

interface Shown {
  readonly id: string
  readonly status: string
  readonly recording: { readonly encryptedPassword: string }
}

describe("the simulator's process", () => {
  test("serves the REST API: it applies settings, and offers failed uploads for download", async () => {
    const tls = join(directory, "tls.pem")
    const simulator = start({
      SIMULATOR_PORT: "0",
      SIMULATOR_STORE: `file://${directory}`,
      SIMULATOR_REST_PORT: "0",
      SIMULATOR_API_SECRET: "an-api-secret",
      SIMULATOR_REST_REFUSE_EVERY: "2",
      SIMULATOR_TLS_CERTIFICATE_FILE: tls,
      SIMULATOR_TLS_KEY_FILE: join(directory, "tls-key.pem"),
      SIMULATOR_REST_AUTH: "basic",
    })
    const { ports } = await simulator.listening
    const authorization = `Basic ${Buffer.from("123456:an-api-secret").toString("base64")}`
    const ask = (path: string, init: RequestInit = {}) =>
      fetch(`http://127.0.0.1:${ports.rest}/v2/project/123456/archive${path}`, {
        ...init,
        headers: { authorization, "content-type": "application/json" },
      })
    const body = JSON.stringify({
      type: "azure",
      config: { accountName: "account", accountKey: "a2V5", container: "archives", domain: "invalid" },
      fallback: "opentok",
      certificate: null,
    })
    expect((await ask("/storage", { method: "PUT", body })).status).toBe(200)
    const refused = await ask("")
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"])
    const recording = JSON.stringify({ size: 752 })
    await fetch(`http://127.0.0.1:${ports.control}/archives`, { method: "POST", body: recording })
    type Listed = { status: string; url: string; password: string }
    let archive: Listed | undefined
    for (let waited = 0; archive?.status !== "available" && waited < 300; waited++) {
      await new Promise((resolve) => setTimeout(resolve, 100))
      const response = await ask("")
      if (response.ok) [archive] = ((await response.json()) as { items: Listed[] }).items
    }
    expect(archive).toMatchObject({ status: "available", password: "" })
    const length = await new Promise((resolve, reject) => {
      get(archive!.url, { ca: readFileSync(tls), agent: false }, (response) => {
        response.resume()
        resolve(response.headers["content-length"])
      }).on("error", reject)
    })
    expect(length).toBe("752")
    simulator.child.kill("SIGTERM")
    expect(await simulator.exit).toBe(0)
  })

  test("makes a certificate, records at the start and on demand, sends callbacks, and stops on SIGTERM", async () => {
    const callbacks: { id: string; status: string; password: string }[] = []
    const receiver = createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      callbacks.push(JSON.parse(Buffer.concat(chunks).toString("utf8")))
      response.writeHead(202).end()
    })
    await new Promise<void>((resolve) => receiver.listen(0, "127.0.0.1", resolve))
    try {
      const keyFile = join(directory, "keys.pem")
      const simulator = start({
        SIMULATOR_PORT: "0",
        SIMULATOR_S3_PORT: "0",
        AWS_ACCESS_KEY_ID: "simulated-access-key",
        AWS_SECRET_ACCESS_KEY: "simulated-secret-access-key",
        SIMULATOR_CERTIFICATE_FILE: join(directory, "certificate"),
        SIMULATOR_KEY_FILE: keyFile,
        SIMULATOR_CALLBACK_URL: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/callbacks/123456`,
        SIMULATOR_SIGNATURE_SECRET: "a-signature-secret-of-32-bytes!!",
        SIMULATOR_ARCHIVES: "2",
        SIMULATOR_ARCHIVES_PER_MINUTE: "1000",
        SIMULATOR_SIZES_BYTES: "752,200000",
        LOG_LEVEL: "debug",
        SIMULATOR_REST_PORT: "0",
        SIMULATOR_REST_AUTH: "basic",
        SIMULATOR_API_SECRET: "an-api-secret",
      })
      const { ports } = await simulator.listening
      const api = `http://127.0.0.1:${ports.control}/archives`
      await fetch(api, { method: "POST", body: JSON.stringify({ size: 10_000_000 }) })
      const uploaded = () => callbacks.filter(({ status }) => status === "uploaded")
      while (uploaded().length < 3) await new Promise((resolve) => setTimeout(resolve, 20))

      // A customer's archive takes the next turn. An archive that nobody stops does not keep the process alive.
      const authorization = `Basic ${Buffer.from("123456:an-api-secret").toString("base64")}`
      const post = async (path: string, body: string, type = "application/json") => {
        const headers = { authorization, "content-type": type }
        const response = await fetch(`http://127.0.0.1:${ports.rest}${path}`, {
          method: "POST",
          headers,
          body,
        })
        expect(response.status).toBe(200)
        return (await response.json()) as { id: string }
      }
      const form = "application/x-www-form-urlencoded"
      const [{ session_id: sessionId }] = (await post("/session/create", "", form)) as unknown as [
        { session_id: string },
      ]
      const project = "/v2/project/123456/archive"
      await post(project, JSON.stringify({ sessionId, multiArchiveTag: "goes on" }))
      const { id: started } = await post(project, JSON.stringify({ sessionId, name: "by REST" }))
      expect(callbacks.filter(({ id, status }) => id === started && status !== "started")).toEqual([])
      await post(`${project}/${started}/stop`, "{}")
      while (!uploaded().some(({ id }) => id === started))
        await new Promise((resolve) => setTimeout(resolve, 20))
      expect(callbacks.filter(({ id }) => id === started)).toMatchObject([
        { status: "started" },
        { status: "stopped" },
        { status: "uploaded", name: "by REST", size: 199_856 },
      ])

      const listed = (await (await fetch(api)).json()) as Shown[]
      expect(listed.map(({ status }) => status).sort()).toEqual(["started", ...Array(4).fill("uploaded")])
      const keys = await openKeyDirectory(directory)
      for (const { id, password } of uploaded()) {
        const archive = (await (await fetch(`${api}/${id}`)).json()) as Shown
        expect(archive.recording.encryptedPassword).toBe(password)
        expect(
          await keys.unwrap(Buffer.from(password, "base64"), new AbortController().signal),
        ).not.toBeNull()
      }

      simulator.child.kill("SIGTERM")
      expect(await simulator.exit).toBe(0)
      const log = simulator.lines.join("\n") + simulator.errors()
      expect(log.match(/"archive recorded"/g)).toHaveLength(4)
      for (const secret of [
        "signature-secret",
        "secret-access-key",
        "an-api-secret",
        ...uploaded().map(({ password }) => password),
      ])
        expect(log).not.toContain(secret)
      expect(readFileSync(keyFile, "utf8")).toContain("PRIVATE KEY")
    } finally {
      receiver.closeAllConnections()
      receiver.close()
    }
  })

  test("exits with 2 and lists all problems if its configuration can't work", async () => {
    const simulator = start({ SIMULATOR_PORT: "many", SIMULATOR_S3_PORT: "0" })
    expect(await simulator.exit).toBe(2)
    expect(simulator.errors()).toMatch(/SIMULATOR_PORT/)
    expect(simulator.errors()).toMatch(/SIMULATOR_CERTIFICATE_FILE/)
  })

  test("is complete in a folder: its settings decrypt what it records, and find what it lost", async () => {
    const folder = join(directory, "complete")
    const simulator = start({
      ...{ SIMULATOR_DIRECTORY: folder, SIMULATOR_CALLBACK_URL: "http://127.0.0.1:1/callbacks/123456" },
      ...{ SIMULATOR_PORT: "0", SIMULATOR_S3_PORT: "0", SIMULATOR_REST_PORT: "0" },
    })
    const { ports } = await simulator.listening
    expect(simulator.errors()).toContain(`. ${folder}/settings\n  unseal worker\n`)
    const env = Object.fromEntries(
      [...readFileSync(join(folder, "settings"), "utf8").matchAll(/^export (\w+)='(.*)'$/gm)].map(
        ([, name, value]) => [name!, value!],
      ),
    )
    const control = `http://127.0.0.1:${ports.control}`
    // Every callback is lost from now on.
    const day = { method: "PATCH", body: JSON.stringify({ loseCallbacksEvery: 1 }) }
    expect((await fetch(`${control}/bad-day`, day)).status).toBe(200)
    await fetch(`${control}/archives`, { method: "POST", body: JSON.stringify({ size: 18_800 }) })
    const list = async () => (await (await fetch(`${control}/archives`)).json()) as Shown[]
    await expect.poll(async () => (await list())[0]?.status, { timeout: 60_000 }).toBe("uploaded")
    const { id } = (await list())[0]!
    const shown = (await (await fetch(`${control}/archives/${id}`)).json()) as Shown
    await expect
      .poll(() => simulator.lines.filter((line) => line.includes("callback lost")).length, {
        timeout: 60_000,
      })
      .toBeGreaterThan(0)

    const listed = await runCli(["archives", "list", "--json"], { env })
    expect(listed.code, listed.stderr).toBe(0)
    expect(`${listed.stdout}`).toContain(id)
    const [store, query] = env.UNSEAL_SOURCE!.split("?")
    const source = `${store}/123456/${id}/archive.ts?${query}`
    const password = ["--password", shown.recording.encryptedPassword, "--tail", "trim"]
    const output = join(folder, "decrypted/archive.ts")
    expect(await runCli(["decrypt", source, output, ...password], { env })).toMatchObject({ code: 0 })
    expect(readFileSync(output).length).toBe(18_800)
    simulator.child.kill("SIGTERM")
    expect(await simulator.exit).toBe(0)
  })
})
