import { spawn } from "node:child_process"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { type AddressInfo, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { text } from "node:stream/consumers"
import { pathToFileURL } from "node:url"
import { expect, test } from "vitest"

test("a worker whose admin port is taken ends with 2 before it takes any work", async () => {
  const directory = await mkdtemp(join(tmpdir(), "unseal-worker-"))
  const taken = createServer()
  await once(taken.listen(0, "127.0.0.1"), "listening")
  const { port } = taken.address() as AddressInfo
  try {
    // Decorators are asked for when the worker is made, which works from then on.
    const main = `import { runWorker } from ${JSON.stringify(pathToFileURL(join(import.meta.dirname, "process.ts")))}
      await runWorker({ decorators() { process.stdout.write("begins to work\\n"); return [] } })`
    const child = spawn(process.execPath, ["--input-type=module", "-e", main], {
      env: {
        ...{ PATH: process.env.PATH, REDIS_URL: "redis://127.0.0.1:1", UNSEAL_PROJECT_ID: "123456" },
        ...{ UNSEAL_SOURCE: `file://${directory}`, UNSEAL_DESTINATION: `file://${directory}/out` },
        ...{ UNSEAL_KEYS: directory, UNSEAL_HOST: "127.0.0.1", UNSEAL_ADMIN_PORT: `${port}` },
      },
      stdio: ["ignore", "pipe", "pipe"],
    })
    const [stdout, stderr, [code]] = await Promise.all([
      ...[text(child.stdout), text(child.stderr)],
      once(child, "close") as Promise<[number | null]>,
    ] as const)
    expect({ code, stderr }).toEqual({
      code: 2,
      stderr: expect.stringContaining(`UNSEAL_ADMIN_PORT: port ${port} is taken by another process`),
    })
    expect(stdout).not.toContain("begins to work")
  } finally {
    taken.close()
    await rm(directory, { recursive: true })
  }
})
