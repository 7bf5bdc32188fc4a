import { Writable } from "node:stream"
import { expect, test } from "vitest"
import { createStandardOutput } from "./standard-output.ts"

const { signal: never } = new AbortController()
const open = (output: Writable) =>
  createStandardOutput(output).create("-", 3, { contentType: "", metadata: {}, existing: "fail" }, never)

test("parts leave in their order, whatever order they arrive in", async () => {
  const left: string[] = []
  const output = new Writable({
    write(chunk, _, done) {
      left.push(String(chunk))
      setImmediate(done)
    },
  })
  const writer = await open(output)
  await Promise.all([3, 1, 2].map((number) => writer.writePart(number, [Buffer.from(`${number}`)], 0, never)))
  expect(left).toEqual(["1", "2", "3"])
})

test("a failed run's part waits neither for its turn nor for a reader that takes nothing", async () => {
  const writer = await open(new Writable({ write() {} }))
  const aborted = AbortSignal.abort(new Error("enough"))
  await expect(writer.writePart(2, [Buffer.from("2")], 0, aborted)).rejects.toThrow("enough")
  const controller = new AbortController()
  const stuck = writer.writePart(1, [Buffer.alloc(1_000_000)], 0, controller.signal)
  controller.abort(new Error("enough"))
  await expect(stuck).rejects.toThrow("enough")
})

test("a part fails if the output has ended", async () => {
  const output = new Writable({ write: (_chunk, _encoding, done) => done(new Error("EPIPE")) })
  output.on("error", () => {})
  const writer = await open(output)
  await expect(writer.writePart(1, [Buffer.alloc(1_000_000)], 0, never)).rejects.toThrow("EPIPE")
  await expect(writer.writePart(1, [Buffer.alloc(1_000_000)], 0, never)).rejects.toThrow()
})
