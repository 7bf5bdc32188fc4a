/** The client against the simulated REST API of both platforms. */
import { createVendorClient } from "@unseal/vendor/client"
import { afterEach, describe, expect, it } from "vitest"
import { type SimulatedVendor, startSimulatedVendor } from "./simulated-vendor.ts"

const never = new AbortController().signal
let vendor: SimulatedVendor
afterEach(() => vendor.close())

describe.each(["opentok", "vonage"] as const)("the client of %s", (platform) => {
  it("gives what the cloud knows about an archive, and null for a deleted one", async () => {
    vendor = await startSimulatedVendor(platform)
    const { id, recording } = await vendor.cloud.record({ size: 752 })
    expect(await vendor.client.getArchive(id, never)).toMatchObject({
      archiveId: id,
      status: "uploaded",
      size: recording!.size,
      projectId: vendor.projectId,
    })
    await vendor.cloud.remove(id, never)
    expect(await vendor.client.getArchive(id, never)).toBeNull()
  })

  it("lists every archive once while others are recorded and deleted", async () => {
    vendor = await startSimulatedVendor(platform, { refuse: ({ number }) => meanwhile(number) })
    const record = () => vendor.cloud.record({ size: 188, statuses: ["started"] })
    for (let index = 0; index < 100; index++) await record()
    const before = [...vendor.cloud.archives.keys()]
    const doomed = before.filter((_, index) => index % 3 === 0)
    const kept = before.filter((id) => !doomed.includes(id))
    let recorded = 0
    function meanwhile(number: number) {
      for (const id of doomed.splice(-7)) void vendor.cloud.remove(id, never)
      if (recorded++ < 20) void record()
      return number % 4 === 0 ? { status: 429, retryAfter: "0" } : null
    }
    const listed: string[] = []
    for await (const { archiveId } of vendor.client.listArchives({ pageSize: 10, overlap: 3 }, never))
      listed.push(archiveId)
    expect(new Set(listed).size).toBe(listed.length)
    expect(kept.filter((id) => !listed.includes(id))).toEqual([])
    expect(listed.filter((id) => kept.includes(id))).toEqual(kept.reverse())
    expect(vendor.rest.requests.some(({ status }) => status === 429)).toBe(true)
  })

  it("is accepted with a clock that is half a minute ahead, and told by how much if it is two", async () => {
    let behindMs = 30_000
    vendor = await startSimulatedVendor(platform, { now: () => Date.now() - behindMs })
    const { id } = await vendor.cloud.record({ size: 752 })
    expect(await vendor.client.getArchive(id, never)).toMatchObject({ archiveId: id })
    behindMs = 120_000
    const refused = vendor.client.getArchive(id, never)
    await expect(refused).rejects.toThrow(/this machine's clock is 1[12]\d s ahead of the vendor's/)
    await expect(refused).rejects.toThrow("it says: issued time cannot be greater than current time")
    await expect(refused).rejects.toHaveProperty("remedy", expect.stringMatching(/^set this machine's clock/))
  })

  it("is denied with the credentials of another", async () => {
    vendor = await startSimulatedVendor(platform)
    const { env: _, ...options } = vendor
    const stranger = createVendorClient({
      platform,
      projectId: options.projectId,
      baseUrl: vendor.rest.url,
      credentials: { scheme: "opentok", apiSecret: "another" },
    })
    await expect(stranger.getArchive("any", never)).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
      status: 403,
    })
  })
})
