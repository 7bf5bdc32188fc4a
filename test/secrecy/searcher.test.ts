import { spawn } from "node:child_process"
import { randomBytes } from "node:crypto"
import { once } from "node:events"
import { describe, expect, it } from "vitest"
import { searchMemory } from "./process-memory.ts"
import { createSearcher } from "./searcher.ts"

describe("the searcher", () => {
  const key = randomBytes(32)
  const iv = randomBytes(16)
  const search = createSearcher([
    { name: "key", bytes: key },
    { name: "iv", bytes: iv },
  ])
  const base64 = (before: number, secret: Buffer, form: "base64" | "base64url" = "base64") =>
    Buffer.concat([randomBytes(before), secret, randomBytes(5)]).toString(form)

  it.each<[spelling: string, planted: (secret: Buffer) => string | Buffer]>([
    ["raw", (secret) => secret],
    ["raw, reversed", (secret) => Buffer.from(secret).reverse()],
    ["hex", (secret) => secret.toString("hex")],
    ["hex, upper case", (secret) => secret.toString("hex").toUpperCase()],
    ["decimal", (secret) => JSON.stringify(secret)],
    ["base64, 0 bytes in", (secret) => base64(3, secret)],
    ["base64, 1 bytes in", (secret) => base64(4, secret)],
    ["base64, 2 bytes in", (secret) => base64(5, secret)],
    ["base64url, 0 bytes in", (secret) => base64(0, secret, "base64url")],
    ["base64url, 1 bytes in", (secret) => base64(1, secret, "base64url")],
    ["base64url, 2 bytes in", (secret) => base64(2, secret, "base64url")],
  ])("finds a planted secret: %s", (spelling, planted) => {
    for (const [name, secret] of [
      ["key", key.subarray(0, 24)],
      ["iv", iv],
    ] as const) {
      const heap = Buffer.concat([
        randomBytes(10_001),
        Buffer.from(planted(secret) as string),
        randomBytes(999),
      ])
      expect(search(heap)).toContain(`${name} (${spelling})`)
      expect(search(heap).every((found) => found.startsWith(name))).toBe(true)
    }
  })

  it("finds one at the very beginning and at the very end, and nothing in an empty or a foreign heap", () => {
    expect(search(iv)).toEqual(["iv (raw)"])
    expect(search(Buffer.concat([randomBytes(77), iv]))).toEqual(["iv (raw)"])
    expect(search(Buffer.alloc(0))).toEqual([])
    expect(search(randomBytes(1_000_000))).toEqual([])
    expect(search(iv.subarray(0, 15))).toEqual([])
  })

  it("finds one whose first bytes are another one's too", () => {
    const twin = Buffer.concat([iv.subarray(0, 8), randomBytes(8)])
    const both = createSearcher([
      { name: "iv", bytes: iv },
      { name: "twin", bytes: twin },
    ])
    expect(both(twin)).toEqual(["twin (raw)"])
  })

  it("finds a piece of a long secret, also in a PEM file's broken lines", () => {
    const long = randomBytes(256)
    const one = createSearcher([{ name: "long", bytes: long }])
    expect(one(long.subarray(100, 150))).toEqual(["long (raw)"])
    const lines = long.toString("base64").replace(/.{64}/g, "$&\n")
    expect(one(Buffer.from(lines))).toContain("long (base64, 0 bytes in)")
  })

  it.runIf(process.platform === "linux")(
    "finds one in the memory of a process, and not what was wiped",
    async () => {
      const [held, wiped] = [randomBytes(32), randomBytes(32)]
      // They come disguised, so that only what the process makes of them is found.
      const script = `
      process.stdin.once("data", (input) => {
        const bytes = Buffer.from(new ArrayBuffer(64))
        for (let i = 0; i < 64; i++) bytes[i] = input[i] ^ 0x5a
        bytes.fill(0, 32)
        globalThis.kept = bytes
        process.stdout.write("ready")
      })`
      const child = spawn(process.execPath, ["-e", script], { stdio: ["pipe", "pipe", "inherit"] })
      try {
        child.stdin.write(Buffer.concat([held, wiped]).map((byte) => byte ^ 0x5a))
        await once(child.stdout, "data")
        const searchBoth = createSearcher([
          { name: "held", bytes: held },
          { name: "wiped", bytes: wiped },
        ])
        expect(await searchMemory(child.pid!, searchBoth)).toEqual(["held (raw)"])
      } finally {
        child.kill("SIGKILL")
      }
    },
  )
})
