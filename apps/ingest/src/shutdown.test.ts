import { describe, expect, it } from "vitest"
import { uploaded } from "../../../test/harness/ingest/ingest-app.ts"
import { app, start } from "../../../test/harness/ingest/ingest-each.ts"

describe("a shutdown", () => {
  it("answers the callbacks in progress, closes their connections, and accepts no others", async () => {
    let finish = (): void => {}
    let reached = (): void => {}
    const inHand = new Promise<void>((resolve) => {
      reached = resolve
    })
    await start({
      enqueue: () =>
        new Promise((resolve) => {
          finish = () => resolve({ outcome: "enqueued", jobId: "j" })
          reached()
        }),
    })
    const answer = app.post("/callbacks/100", uploaded())
    await inHand
    const drained = app.drain()
    await expect(app.post("/callbacks/100", uploaded())).rejects.toThrow()
    finish()
    const response = await answer
    expect(response.status).toBe(202)
    expect(response.headers.get("connection")).toBe("close")
    await drained
  })

  it("answers 503 with Retry-After on a connection that is already open", async () => {
    const { connect } = await import("node:net")
    await start()
    const socket = connect(app.port, "127.0.0.1")
    // With half a request sent, the connection is not idle, and stays open when the server begins to drain.
    const body = JSON.stringify(uploaded())
    const head = `POST /callbacks/100 HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n`
    await new Promise<void>((resolve) => socket.write(head, () => resolve()))
    // The server has read that half once it has answered a later request.
    await fetch(`${app.base}/openapi.json`).then((response) => response.text())
    const drained = app.drain()
    socket.write(`\r\n${body}`)
    let text = ""
    for await (const chunk of socket) text += chunk
    expect(text).toMatch(/^HTTP\/1\.1 503 /)
    expect(text).toMatch(/retry-after: \d+/i)
    expect(text).toMatch(/connection: close/i)
    await drained
    expect(app.jobs).toEqual([])
    expect(app.logs.at(-1)).toMatchObject({ outcome: "draining" })
  })
})
