/** Files that may be pipes: the signal ends a command that waits for a pipe's other end. */
import { execFileSync } from "node:child_process"
import { readdirSync, readlinkSync } from "node:fs"
import { mkdtemp, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, test } from "vitest"
import { inspectCommand } from "../archives/inspect.ts"
import { certificateCheckCommand } from "../certificate/check.ts"
import { certificateCreateCommand } from "../certificate/create.ts"
import { submitCommand } from "../queue/submit.ts"

const VECTOR = join(import.meta.dirname, "../../../../test/vectors/openssl-passphrase")
const [key, callback] = [[join(VECTOR, "key.pem")], join(VECTOR, "callback.json")]

describe.runIf(process.platform === "linux")("a pipe that nobody writes to", () => {
  let directory: string
  let pipe: string
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "unseal-pipes-"))
    pipe = join(directory, "pipe")
    execFileSync("mkfifo", [pipe])
  })
  afterAll(() => rm(directory, { recursive: true }))

  const isOpen = () =>
    readdirSync("/proc/self/fd").some((name) => {
      try {
        return readlinkSync(`/proc/self/fd/${name}`) === pipe
      } catch {
        return false
      }
    })

  const newKey = () => ({ out: join(directory, "cert.pem"), keyout: join(directory, "new.pem") })
  test.each<[string, (signal: AbortSignal) => Promise<void>]>([
    ["inspect --callback", (signal) => inspectCommand({ callback: pipe, key }, signal)],
    ["inspect --password-file", (signal) => inspectCommand({ passwordFile: pipe, key }, signal)],
    ["inspect --key", (signal) => inspectCommand({ callback, key: [pipe] }, signal)],
    [
      "inspect --passphrase-file",
      (signal) => inspectCommand({ callback, key, passphraseFile: pipe }, signal),
    ],
    ["submit", (signal) => submitCommand([pipe], {}, signal)],
    ["certificate check", (signal) => certificateCheckCommand(pipe, { for: "registration" }, signal)],
    [
      "certificate create --passphrase-file",
      (signal) =>
        certificateCreateCommand(
          { ...newKey(), bits: 2048, days: 1, subject: "/CN=unseal", passphraseFile: pipe },
          signal,
        ),
    ],
  ])("unseal %s", async (_, command) => {
    const interrupted = new AbortController()
    const ended = expect(command(interrupted.signal)).rejects.toThrow("enough")
    await expect.poll(isOpen, { timeout: 30_000 }).toBe(true)
    interrupted.abort(new Error("enough"))
    await ended
    await expect.poll(isOpen, { timeout: 30_000 }).toBe(false)
  })
})
