import { hostname } from "node:os"
import { expect, test } from "vitest"
import { consume, current, enqueue } from "../../../test/harness/consumer.ts"
import { readWorkers } from "./workers.ts"

const SOON = { timeout: 60_000, interval: 50 }
const name = `${hostname()}:${process.pid}`
const read = () => readWorkers(current.client, current.name)

test("workers are seen while they are connected, with what they run, and none of another queue", async () => {
  expect(await read()).toEqual({ workers: [], unseen: null })
  consume({
    run: (_, { signal }) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  })
  await expect.poll(read, SOON).toMatchObject({
    workers: [{ name, running: 0, isConnected: true, connectedSeconds: expect.any(Number) }],
  })
  await enqueue()
  await enqueue()
  await expect.poll(async () => (await read()).workers[0]?.running, SOON).toBe(2)
  expect((await readWorkers(current.client, `${current.name}-other`)).workers).toEqual([])
})

test("a user who may not list clients sees the workers that run something, and why the others are missing", async () => {
  consume({
    run: (_, { signal }) =>
      new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
  })
  await enqueue()
  await expect.poll(async () => (await read()).workers[0]?.running, SOON).toBe(1)
  await current.client.call("ACL", "SETUSER", "narrow", "on", ">secret", "~*", "+@all", "-client|list")
  const narrow = current.client.duplicate({ username: "narrow", password: "secret" })
  try {
    expect(await readWorkers(narrow, current.name)).toEqual({
      workers: [{ name, running: 1, isConnected: null, connectedSeconds: null }],
      unseen: expect.stringContaining("CLIENT LIST"),
    })
  } finally {
    narrow.disconnect()
  }
})
