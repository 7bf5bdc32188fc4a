import { once } from "node:events"
import { type AddressInfo, connect, createServer, type Socket } from "node:net"
import { Writable } from "node:stream"
import { afterEach, expect, it, vi } from "vitest"
import { createPace, type TooSlowError } from "./pace.ts"
import { sendRequest } from "./request.ts"

it("gives a slice that leaves slowly the time that its pace has left, and no more", async () => {
  let leftMs = 1
  const pace = {
    ...createPace(1),
    moved: () => true,
    leftMs: vi.fn(() => leftMs),
    windowLeftMs: () => Number.POSITIVE_INFINITY,
  }
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
  expect(await sent).toBe(false)
})

/**
 * Sends 1 MiB to a peer that takes `bytesPerSecond`. Resolves with how it ended, and after how many seconds. The time is the fake
 * timers'.
 */
async function sendSlowly(bytesPerSecond: number, isSecure: boolean) {
  const handle = { writeQueueSize: 0 }
  let leave = () => {}
  const socket = new Writable({
    write(chunk: Buffer, _encoding, done) {
      handle.writeQueueSize = chunk.length
      leave = done
    },
  })
  const drain = setInterval(() => {
    if (handle.writeQueueSize === 0) return
    handle.writeQueueSize = Math.max(0, handle.writeQueueSize - bytesPerSecond)
    if (handle.writeQueueSize === 0) leave()
  }, 1_000)
  const pace = createPace(300_000, undefined, undefined, 30_000)
  pace.run()
  const startedAt = performance.now()
  const end = Promise.withResolvers<[how: string, seconds: number]>()
  const ended = (how: string) => end.resolve([how, Math.round((performance.now() - startedAt) / 1_000)])
  void sendRequest(
    Buffer.from("PUT / HTTP/1.1\r\n\r\n"),
    { method: "PUT", target: "/", headers: {}, body: [Buffer.alloc(1024 * 1024)] },
    {
      socket: Object.assign(socket, { _handle: handle }) as unknown as Socket,
      ...{ isSecure, pace, floorBytesPerSecond: undefined, isOver: () => false },
      tooSlow: () => ended("too slow"),
    },
  ).then(() => ended("sent"))
  await vi.advanceTimersByTimeAsync(900_000)
  clearInterval(drain)
  return end.promise
}

afterEach(() => void vi.useRealTimers())

it.each([false, true])(
  "gives a peer that takes too little one window of 30 s, and one that takes 6 kB/s its minutes (TLS: %s)",
  async (isSecure) => {
    vi.useFakeTimers()
    expect(await sendSlowly(200, isSecure)).toEqual(["too slow", 30])
    expect(await sendSlowly(1_900, isSecure)).toEqual(["too slow", 30])
    expect(await sendSlowly(6_000, isSecure)).toEqual(["sent", expect.closeTo(175, -1)])
  },
)

it("gives up a peer that took most of a body at once, and drips with the rest", async () => {
  vi.useFakeTimers()
  const pace = createPace(300_000, undefined, undefined, 30_000)
  pace.run()
  expect(pace.moved(5_000_000, "request")).toBe(true)
  await vi.advanceTimersByTimeAsync(30_000)
  expect(pace.moved(0, "request")).toBe(true)
  await vi.advanceTimersByTimeAsync(30_000)
  expect(pace.moved(50_000, "request")).toBe(false)
})

it("relies on Node to tell how much of a slice the system has not taken", async () => {
  const server = createServer((peer) => peer.pause())
  await once(server.listen(0, "127.0.0.1"), "listening")
  const socket = connect((server.address() as AddressInfo).port, "127.0.0.1")
  await once(socket, "connect")
  const size = 64 * 1024 * 1024
  socket.write(Buffer.alloc(size))
  const { _handle } = socket as unknown as { _handle: { writeQueueSize: number } }
  expect(_handle.writeQueueSize).toBeGreaterThan(0)
  await expect.poll(() => _handle.writeQueueSize, { timeout: 10_000 }).toBeLessThan(size)
  socket.destroy()
  server.close()
})
