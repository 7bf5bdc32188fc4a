import { UnsealError } from "@unseal/archive/errors"
import type { VendorArchive } from "@unseal/vendor/client"
import { expect, test } from "vitest"
import { type ListedProject, listVendorLines } from "./vendor-lines.ts"

const never = new AbortController().signal
const day = (date: string) => Date.parse(`${date}T00:00:00Z`)
const time = { from: day("2023-01-01"), to: day("2024-01-01") }
let count = 0
const archive = (date: string, fields: Partial<VendorArchive> = {}): VendorArchive => ({
  ...{ archiveId: `00000000-0000-4000-8000-${String(++count).padStart(12, "0")}`, status: "uploaded" },
  ...{ encryptedPassword: "cGFzc3dvcmQ=", createdAt: day(date), size: 7, ...fields },
})

/** A project with a list of archives. A function in the list throws, which ends it. */
function project(
  id: string,
  listed: readonly (VendorArchive | (() => never))[],
): ListedProject & { read: number } {
  const it = {
    id,
    read: 0,
    vendor: {
      async *listArchives() {
        for (const one of listed) {
          it.read++
          yield typeof one === "function" ? one() : one
        }
      },
    },
  }
  return it
}
const troubles: string[] = []
const list = (projects: readonly ListedProject[], signal = never) =>
  Array.fromAsync(
    listVendorLines(projects, time, (id, { code }) => void troubles.push(`${id} ${code}`), signal),
  )

test("only the archives of the period are lines, numbered over all projects", async () => {
  const [first, second] = [
    archive("2023-12-31"),
    archive("2023-01-01", { status: "available", url: "https://x/a" }),
  ]
  const { encryptedPassword: _, ...plain } = archive("2023-06-01")
  const lines = await list([
    project("1", [
      archive("2024-01-01"),
      first,
      plain,
      archive("2023-05-01", { status: "started" }),
      archive("2022-12-31"),
    ]),
    project("2", [second]),
  ])
  const fields = { encryptedPassword: "cGFzc3dvcmQ=", size: 7 }
  expect(lines).toEqual([
    { line: 1, payload: { projectId: "1", archiveId: first.archiveId, status: "uploaded", ...fields } },
    { line: 2, ignored: "not-encrypted", archiveId: plain.archiveId },
    { line: 3, ignored: "not-uploaded", archiveId: expect.any(String) },
    {
      line: 4,
      payload: {
        projectId: "2",
        archiveId: second.archiveId,
        status: "available",
        url: "https://x/a",
        ...fields,
      },
    },
  ])
})

test("the list is read until a hundred archives in a row are older", async () => {
  const old = Array.from({ length: 500 }, () => archive("2020-01-01"))
  const late = archive("2023-03-01")
  const one = project("1", [archive("2023-04-01"), ...old.slice(0, 99), late, ...old.slice(99)])
  expect(await list([one])).toHaveLength(2)
  expect(one.read).toBe(1 + 99 + 1 + 100)
})

test("a project whose list can't be read is reported, its lines so far count, and the next project follows", async () => {
  troubles.length = 0
  const refuse = () => {
    throw new UnsealError("ERR_STORE_DENIED", "403")
  }
  const lines = await list([
    project("1", [archive("2023-04-01"), refuse]),
    project("2", [archive("2023-04-01")]),
  ])
  expect(lines.map((one) => "payload" in one && one.payload.projectId)).toEqual(["1", "2"])
  expect(troubles).toEqual(["1 ERR_STORE_DENIED"])
})

test("a period that ends before it begins is refused, and an abort ends the list", async () => {
  const listed = () => listVendorLines([], { from: time.to, to: time.from }, () => {}, never)
  expect(listed).toThrow(expect.objectContaining({ code: "ERR_OPTION_INVALID" }))
  const reason = new Error("stop")
  const stopped = list([project("1", [archive("2023-04-01")])], AbortSignal.abort(reason))
  await expect(stopped).rejects.toBe(reason)
})
