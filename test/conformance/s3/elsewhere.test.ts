import { readFile, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import {
  accessKeyId,
  directory,
  never,
  notices,
  open,
  open1,
  roundTrip,
  SIZES,
  secretAccessKey,
  server,
} from "../suite/s3-quirks.ts"

describe("a store with another clock", () => {
  for (const [quirk, seconds] of [
    ["clock-ahead", 3600],
    ["clock-behind", -3600],
  ] as const)
    for (const size of SIZES)
      it(`gets signatures by its own time, after one refusal: ${quirk}, ${size} bytes`, async () => {
        const { store } = await open1(quirk)
        await roundTrip(store, size)
        expect(server.operations.count("*", ({ code }) => code === "RequestTimeTooSkewed")).toBe(
          // The first look's, and that of the request for its name.
          2,
        )
        expect(notices).toEqual([{ what: "clock-skew", seconds: expect.any(Number) }])
        const [notice] = notices
        expect(notice?.what === "clock-skew" && Math.abs(notice.seconds - seconds)).toBeLessThan(30)
      })

  it("is followed when it is corrected", async () => {
    const { store } = await open1("clock-ahead")
    await store.stat("a.ts", never)
    server.quirks.clear()
    expect(await store.stat("a.ts", never)).toBeNull()
    expect(notices).toHaveLength(2)
    expect(notices[1]).toMatchObject({ what: "clock-skew" })
    expect(notices[1]?.what === "clock-skew" && Math.abs(notices[1].seconds)).toBeLessThan(30)
  })

  it("is learned from one of the SDK's calls for the others", async () => {
    const { store } = await open1("clock-ahead")
    for await (const upload of store.openUploads(never)) throw new Error(`unexpected ${upload.token}`)
    await roundTrip(store, SIZES[1])
    expect(server.operations.count("*", ({ code }) => code === "RequestTimeTooSkewed")).toBe(1)
  })
})

describe("a bucket in another region", () => {
  for (const quirk of ["other-region-301", "other-region-400"] as const)
    for (const size of SIZES)
      it(`is followed there, once: ${quirk}, ${size} bytes`, async () => {
        const { store } = await open1(quirk)
        await roundTrip(store, size)
        await roundTrip(store, size)
        const refused = server.operations.count("*", ({ status }) => status === 301 || status === 400)
        expect(refused).toBeLessThanOrEqual(2)
        expect(notices).toEqual([{ what: "other-region", region: "eu-central-1" }])
      })

  it("is followed by requests already in flight when it was learned", async () => {
    const { store } = await open1("other-region-400")
    const looks = Array.from({ length: 8 }, (_, i) => store.open(`none-${i}.ts`, 1, never))
    expect(await Promise.all(looks)).toEqual(Array(8).fill(null))
    expect(notices).toHaveLength(1)
  })

  it("is followed by the SDK's calls, too", async () => {
    const { store } = await open1("other-region-400")
    for await (const upload of store.openUploads(never)) throw new Error(`unexpected ${upload.token}`)
    expect(notices).toEqual([{ what: "other-region", region: "eu-central-1" }])
  })

  it("is followed together with another clock", async () => {
    const { store } = await open1(["other-region-301", "clock-behind"])
    await roundTrip(store, SIZES[0])
    expect(notices.map(({ what }) => what).sort()).toEqual(["clock-skew", "other-region"])
  })
})

describe("expired credentials", () => {
  /** A credentials file whose only profile runs a command, as is common. Counts the command's runs. */
  async function credentialProcess(name: string) {
    const [file, answer, runs] = ["ini", "json", "runs"].map((end) => join(directory, `${name}.${end}`))
    await writeFile(file!, `[right]\ncredential_process = sh -c 'echo >> ${runs} && cat ${answer}'\n`)
    await writeFile(runs!, "")
    return {
      opening: { profile: "right", env: { AWS_SHARED_CREDENTIALS_FILE: file! } },
      runs: async () => (await readFile(runs!)).length,
      give: (AccessKeyId: string) =>
        writeFile(answer!, JSON.stringify({ Version: 1, AccessKeyId, SecretAccessKey: secretAccessKey })),
    }
  }

  for (const size of SIZES)
    it(`are renewed once for all requests, ${size} bytes`, async () => {
      const { opening, give, runs } = await credentialProcess(`process-${size}`)
      await give("OLDACCESSKEY")
      server.quirks.add("expired-token")
      const store = await open(opening)
      await expect(store.stat("a.ts", never)).rejects.toMatchObject({
        code: "ERR_STORE_DENIED",
        message: expect.stringMatching(/answered 400 ExpiredToken: .*whoever issues them must renew them/),
      })
      expect(await runs()).toBe(2)
      await give(accessKeyId)
      const looks = Array.from({ length: 8 }, (_, i) => store.open(`none-${i}.ts`, 1, never))
      expect(await Promise.all(looks)).toEqual(Array(8).fill(null))
      await roundTrip(store, size)
      expect(await runs()).toBe(3)
    })

  it("are read again from a changed file", async () => {
    const file = join(directory, "credentials")
    const profile = (id: string) =>
      `[right]\naws_access_key_id = ${id}\naws_secret_access_key = ${secretAccessKey}\n`
    await writeFile(file, profile("OLDACCESSKEY"))
    const store = await open({ profile: "right", env: { AWS_SHARED_CREDENTIALS_FILE: file } })
    await expect(store.stat("a.ts", never)).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
      message: expect.stringContaining("InvalidAccessKeyId"),
    })
    await writeFile(file, profile(accessKeyId))
    expect(await store.stat("a.ts", never)).toBeNull()
    for await (const upload of store.openUploads(never)) throw new Error(`unexpected ${upload.token}`)
  })

  it("name the profile that does not exist", async () => {
    const nobody = await open({
      profile: "nobody",
      env: { AWS_SHARED_CREDENTIALS_FILE: join(directory, "none") },
    })
    await expect(nobody.stat("a.ts", never)).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
      message: expect.stringMatching(/^no usable credentials for s3:\/\/archives\/a\.ts: .*\[nobody\]/),
    })
  })
})
