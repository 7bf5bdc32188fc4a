import { chmod, copyFile, mkdir, readdir, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { UnsealError } from "@unseal/archive/errors"
import { createKeyRing } from "@unseal/archive/format/key-ring"
import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import { readPrivateKey } from "@unseal/archive/keys/private-key"
import { expect, test } from "vitest"
import {
  directory,
  line,
  PROJECT,
  running,
  server,
  start,
  submit,
  upload,
  VECTOR,
} from "../../../test/harness/runs/worker-in-process.ts"

test("a project without keys, even without their directory, does not make the process unready", async () => {
  await rm(join(directory, "keys"), { recursive: true })
  const { ready } = start()
  await expect.poll(ready, { timeout: 30_000 }).toEqual([])
  await line("project is not set up: its archives will wait")
  expect(running.lines.find(({ msg }) => String(msg).startsWith("project is not set up"))).toMatchObject({
    projectId: PROJECT,
    problems: [expect.stringContaining(`key directory ${join(directory, "keys")} can't be read`)],
  })
  expect(await ready()).toEqual([])
})

test("a project without a usable key is suspended, and its archives are decrypted once there is one", async () => {
  start()
  await writeFile(join(directory, "keys", "readme.txt"), "no key")
  await upload()
  await submit()
  await line("project suspended: its archives wait until a probe succeeds")
  expect(running.lines.find(({ msg }) => String(msg).startsWith("project suspended"))).toMatchObject({
    ...{ level: "warn", projectId: PROJECT, side: "keys", code: "ERR_KEY_SERVICE_UNAVAILABLE" },
    reason: expect.stringContaining(`${join(directory, "keys")} holds no usable key`),
  })
  expect(await readdir(join(directory, "out"))).toEqual([])
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  await line("archive committed")
  await line("suspension ended: the project's archives go on")
  expect(running.lines.find(({ msg }) => msg === "archive committed")).toMatchObject({ attempt: 1 })
})

test("a key service that is silent, then refuses, suspends the project without an attempt, until it answers", async () => {
  const key = await readPrivateKey(join(VECTOR, "key.pem"))
  const ring = createKeyRing([key])
  const hangs = () => new Promise<never>(() => {})
  const refuses = () =>
    Promise.reject(new UnsealError("ERR_KEY_SERVICE_UNAVAILABLE", "no permission", { refused: true }))
  let unwrap: OpenedKeyRing["unwrap"] = hangs
  let closed = 0
  const service: OpenedKeyRing = {
    ...{ location: "fake://keys", problems: () => [], notes: () => [], certificates: () => [] },
    ...{ describe: ring.describe, refresh: async () => {}, lookedAt: () => Date.now() },
    unwrap: (...given) => unwrap(...given),
    close: async () => void closed++,
  }
  start(
    { UNSEAL_KEYS: "fake://keys" },
    {
      schemes: { fake: { example: "fake://keys", isRemote: true, parse: () => async () => service } },
      requests: { timeoutMs: 50, baseMs: 1 },
    },
  )
  await upload()
  await submit()
  await line("project suspended: its archives wait until a probe succeeds")
  expect(running.lines.find(({ msg }) => String(msg).startsWith("project suspended"))).toMatchObject({
    ...{ side: "keys", code: "ERR_KEY_SERVICE_UNAVAILABLE" },
    reason: expect.stringContaining("key ring fake://keys: no answer for 0.05 s"),
  })
  expect(await running.registry.metrics()).toMatch(
    /unseal_retries_total\{layer="request",code="ERR_KEY_SERVICE_UNAVAILABLE"\} [1-9]/,
  )
  unwrap = refuses
  await expect.poll(() => JSON.stringify(running.lines), { timeout: 30_000 }).toContain("no permission")
  unwrap = ring.unwrap
  await line("archive committed")
  expect(running.lines.find(({ msg }) => msg === "archive committed")).toMatchObject({ attempt: 1 })
  expect(running.lines.filter(({ msg }) => msg === "archive is a dead letter")).toEqual([])
  await running.worker?.close()
  running.worker = undefined
  expect(closed).toBe(1)
})

test("a key that every user of the machine may read causes a warning, and is used", async () => {
  const key = join(directory, "keys", "key.pem")
  await copyFile(join(VECTOR, "key.pem"), key)
  await chmod(key, 0o644)
  start()
  await upload()
  await submit()
  await line("archive committed")
  const warning = running.lines.find(
    ({ msg }) => msg === "key file can be read by every user of this machine",
  )
  expect(warning).toMatchObject({ level: "warn", keys: join(directory, "keys"), file: "key.pem" })
})

test("a missing key directory and a missing destination directory suspend the project, too", async () => {
  await rm(join(directory, "keys"), { recursive: true })
  await rm(join(directory, "out"), { recursive: true })
  start()
  await upload()
  await submit()
  await line("project suspended: its archives wait until a probe succeeds")
  await mkdir(join(directory, "keys"))
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  await expect
    .poll(
      () =>
        running.lines
          .filter(({ msg }) => String(msg).startsWith("project suspended"))
          .map(({ side }) => side),
      {
        timeout: 30_000,
      },
    )
    .toContain("destination")
  await mkdir(join(directory, "out"))
  await line("archive committed")
  expect(running.lines.filter(({ msg }) => msg === "archive is a dead letter")).toEqual([])
})

test("an archive of another key is a dead letter, and nothing appears", async () => {
  start()
  const other = fileURLToPath(new URL("../../../test/vectors/openssl-zero/key.pem", import.meta.url))
  await copyFile(other, join(directory, "keys", "key.pem"))
  await upload()
  await submit()
  await line("archive is a dead letter")
  expect(running.lines.find(({ msg }) => msg === "archive is a dead letter")).toMatchObject({
    ...{ code: "ERR_NO_MATCHING_KEY", kind: "permanent", attempt: 1 },
  })
  expect(await readdir(join(directory, "out"))).toEqual([])
})

test("is not ready while Redis is away, but alive", async () => {
  await copyFile(join(VECTOR, "key.pem"), join(directory, "keys", "key.pem"))
  const { ready, live } = start()
  await expect.poll(ready, { timeout: 30_000 }).toEqual([])
  process.kill(server.pid, "SIGSTOP")
  try {
    expect(await ready()).toEqual(["redis did not answer within 1500 ms"])
    expect(live()).toBeNull()
  } finally {
    process.kill(server.pid, "SIGCONT")
  }
})
