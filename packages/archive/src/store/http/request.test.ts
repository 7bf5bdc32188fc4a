import type { Socket } from "node:net"
import { Writable } from "node:stream"
import { expect, it, vi } from "vitest"
import type { TooSlowError } from "./pace.ts"
import { sendRequest } from "./request.ts"

it("gives a slice that leaves slowly the time that its pace has left, and no more", async () => {
  let leftMs = 1
  const pace = { run() {}, hold() {}, moved: () => true, leftMs: vi.fn(() => leftMs) }
  const tooSlow = vi.fn<(error: TooSlowError) => void>()
  let leave = () => {}
  const socket = new Writable({
    write(chunk: Buffer, _encoding, done) {
      if (chunk.length === 1000) leave = done
      else done()
    },
  })
  const sent = sendRequest(
    Buffer.from("PUT / HTTP/1.1\r\n\r\n"),
    { method: "PUT", target: "/", headers: {}, body: [Buffer.alloc(1000)] },
    {
      ...{ socket: socket as Socket, isSecure: false, pace, floorBytesPerSecond: 4096, tooSlow },
      isOver: () => false,
    },
  )
  await expect.poll(() => pace.leftMs.mock.calls.length, { timeout: 10_000 }).toBeGreaterThan(3)
  expect(pace.leftMs).toHaveBeenLastCalledWith(1000)
  expect(tooSlow).not.toHaveBeenCalled()
  leftMs = 0
  await expect.poll(() => tooSlow.mock.calls.length, { timeout: 10_000 }).toBe(1)
  leave()
  expect(await sent).toBe(true)
})
