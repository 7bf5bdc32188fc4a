import { chmod, copyFile, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { openKeyDirectory } from "@unseal/archive/keys/directory"
import { expect, test } from "vitest"
import { createKeyNotices } from "./notices.ts"

const KEY = join(import.meta.dirname, "../../../../test/vectors/openssl-zero/key.pem")

test("a key that others can read, or that turns bad, is reported once when a look finds it, and again if it returns", async () => {
  const directory = await mkdtemp(join(tmpdir(), "unseal-key-notices-"))
  try {
    const file = join(directory, "key.pem")
    await copyFile(KEY, file)
    await chmod(file, 0o600)
    const keyRing = await openKeyDirectory(directory)
    const lines: string[] = []
    const say = (level: string) => (_: unknown, message?: string) => void lines.push(`${level}: ${message}`)
    const tell = createKeyNotices({ warn: say("warn"), info: say("info") } as never)
    const after = async (change: () => Promise<unknown>) => {
      await change()
      // Looks are distinguished by the millisecond in which they began.
      for (const before = keyRing.lookedAt(); keyRing.lookedAt() === before; ) await keyRing.refresh()
      tell(keyRing)
      tell(keyRing)
      return lines.splice(0)
    }
    expect(await after(async () => {})).toEqual([])
    const exposed = "warn: key file can be read by every user of this machine"
    expect(await after(() => chmod(file, 0o644))).toEqual([exposed])
    expect(await after(async () => {})).toEqual([])
    expect(await after(() => chmod(file, 0o600))).toEqual([])
    expect(await after(() => chmod(file, 0o644))).toEqual([exposed])
    expect(await after(() => writeFile(join(directory, "key.pem.bak"), ""))).toEqual([
      "info: key.pem.bak is ignored: its name does not end in .pem",
    ])
    expect(await after(() => writeFile(join(directory, "torn.pem"), "torn"))).toEqual([
      "warn: key file can't be used",
    ])
  } finally {
    await rm(directory, { recursive: true })
  }
})
