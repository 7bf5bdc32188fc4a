import { writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import type { PolicyStatement } from "../../../apps/simulator/src/s3/access/policies.ts"
import { drain, expectSameBytes, readAll, sampleBytes, write } from "../suite/bytes.ts"
import {
  accessKeyId,
  BUCKET,
  directory,
  never,
  notices,
  open,
  open1,
  raw,
  roundTrip,
  SIZES,
  server,
} from "../suite/s3-quirks.ts"

describe("credentials that may not list the bucket", () => {
  const allow = (...Action: string[]) => ({
    Effect: "Allow" as const,
    Action,
    Resource: `arn:aws:s3:::${BUCKET}/*`,
  })
  const list = { Effect: "Allow", Action: "s3:ListBucket", Resource: `arn:aws:s3:::${BUCKET}` } as const
  const permit = (...Statement: PolicyStatement[]) => server.policies.set(accessKeyId, { Statement })

  for (const size of SIZES)
    it(`find and write what they may, and report what they can't see, ${size} bytes`, async () => {
      const { store } = await open1("hidden-keys")
      expect(store.missingPermission?.()).toBeNull()
      await roundTrip(store, size)
      expect(await store.open("none.ts", 64, never)).toBeNull()
      expect(store.missingPermission?.()).toBe("s3:ListBucket")
      expect(notices).toContainEqual({ what: "blind" })
    })

  for (const size of SIZES)
    it(`leave another's object as it is, ${size} bytes`, async () => {
      const key = `hidden/${size}.ts`
      const foreign = sampleBytes("foreign", size)
      await write(raw, key, foreign, { metadata: { "unseal-source-etag": "another" } })
      // The object can be neither seen nor read, so only the condition protects it.
      permit(allow("s3:PutObject", "s3:AbortMultipartUpload"))
      server.quirks.add("plain-denials")
      const store = await open()
      await expect(write(store, key, sampleBytes("mine", size))).rejects.toMatchObject({
        code: "ERR_STORE_DENIED",
        message: expect.stringMatching(/answered 412, .*they need s3:GetObject and s3:ListBucket/),
      })
      for (const [quirk, status] of [
        ["no-conditions-501", 501],
        ["no-conditions-400", 400],
      ] as const) {
        server.quirks.add(quirk)
        await expect(write(await open(), key, sampleBytes("mine", size))).rejects.toMatchObject({
          code: "ERR_STORE_DENIED",
          message: expect.stringMatching(`answered ${status}, .*they need s3:GetObject and s3:ListBucket`),
        })
        server.quirks.delete(quirk)
      }
      server.policies.delete(accessKeyId)
      expectSameBytes(await readAll(raw, key), foreign)
    })

  it("try to list the key once in a while, not with each look", async () => {
    const { store } = await open1("hidden-keys")
    for (let i = 0; i < 5; i++) expect(await store.open(`none-${i}.ts`, 1, never)).toBeNull()
    expect(server.operations.count("ListObjectsV2")).toBe(1)
    expect(server.operations.count("GetObject")).toBe(5)
  })

  it("differ from credentials that may not read", async () => {
    await write(raw, "there.ts", sampleBytes("there.ts", 752))
    permit(list)
    server.quirks.add("plain-denials")
    const store = await open()
    for (const look of [() => store.open("there.ts", 1, never), () => store.stat("there.ts", never)])
      await expect(look()).rejects.toMatchObject({
        code: "ERR_STORE_DENIED",
        message: expect.stringMatching(/403 AccessDenied.*this needs the permission s3:GetObject/),
      })
    expect(await store.stat("none.ts", never)).toBeNull()
    expect(store.missingPermission?.()).toBeNull()
  })

  it("differ from credentials that have lost every permission", async () => {
    const store = await open()
    expect(await store.stat("none.ts", never)).toBeNull()
    server.quirks.add("denied")
    await expect(store.open("none.ts", 1, never)).rejects.toMatchObject({ code: "ERR_STORE_DENIED" })
    server.quirks.clear()
    expect(await store.open("none.ts", 1, never)).toBeNull()
  })

  it("differ from wrong credentials", async () => {
    server.quirks.add("hidden-keys")
    const file = join(directory, "wrong")
    await writeFile(file, `[wrong]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = wrong\n`)
    const store = await open({ profile: "wrong", env: { AWS_SHARED_CREDENTIALS_FILE: file } })
    for (const look of [() => store.open("a.ts", 1, never), () => store.stat("a.ts", never)])
      await expect(look()).rejects.toMatchObject({
        code: "ERR_STORE_DENIED",
        message: expect.stringContaining("403 SignatureDoesNotMatch"),
      })
  })

  it("that lose sight of the object later are denied", async () => {
    await write(raw, "seen.ts", sampleBytes("seen.ts", 752))
    const { store } = await open1("hidden-keys")
    const object = (await store.stat("seen.ts", never))!
    server.quirks.add("denied")
    await expect(drain(store.read(object, { start: 0, end: 16 }, never))).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
    })
  })

  it("learn of it from a store that names the permission", async () => {
    permit(allow("s3:GetObject"))
    const store = await open()
    expect(await store.stat("none.ts", never)).toBeNull()
    expect(store.missingPermission?.()).not.toBeNull()
    expect(server.operations.count("ListObjectsV2")).toBe(0)
    permit(list, allow("s3:PutObject"))
    await expect(store.stat("none.ts", never)).rejects.toMatchObject({
      message: expect.stringContaining("not authorized to perform: s3:GetObject"),
    })
  })
})
