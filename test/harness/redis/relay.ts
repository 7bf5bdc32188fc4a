/** A relay in front of a Redis. It answers single commands itself, in order, as a Redis in trouble would, or never. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net"

/** A reply as sent on the wire, `never`, or `pass`, which lets Redis answer. */
export type Reply = { readonly reply: string } | "never" | "pass"

export interface RedisRelay {
  readonly url: string
  readonly port: number
  /** Decides about each command from now on. Command names are in lower case, arguments as sent. */
  answer(decide: (name: string, args: readonly string[]) => Reply): void
  /** Cuts every connection. */
  cut(): void
  close(): Promise<void>
}

/** `targetPort` is called at each connection: a cluster's node announces the relay's port before it starts. */
export async function startRedisRelay(targetPort: () => number): Promise<RedisRelay> {
  const sockets = new Set<Socket>()
  let decide: (name: string, args: readonly string[]) => Reply = () => "pass"

  const server = createServer({ noDelay: true }, (client) => {
    const redis = connect({ port: targetPort(), host: "127.0.0.1", noDelay: true })
    sockets.add(client).add(redis)
    /** Pending replies in command order. `null` comes from Redis, `never` blocks all that follow. */
    const due: (Buffer | null | "never")[] = []
    const flush = () => {
      while (due[0] instanceof Buffer) client.write(due.shift() as Buffer)
    }
    eachFrame(client, (frame) => {
      const [name = "", ...args] = readCommand(frame)
      const answer = decide(name.toLowerCase(), args)
      if (answer === "pass") {
        due.push(null)
        redis.write(frame)
      } else due.push(answer === "never" ? "never" : Buffer.from(answer.reply))
      flush()
    })
    eachFrame(redis, (frame) => {
      const at = due.indexOf(null)
      // A push message answers no command. Neither does an error of a Redis that hangs up at once.
      if (frame[0] === 0x3e || at < 0) client.write(frame)
      else due[at] = frame
      flush()
    })
    for (const [from, to] of [
      [client, redis],
      [redis, client],
    ] as const) {
      from.on("error", () => {})
      from.on("close", () => {
        sockets.delete(from)
        to.destroySoon()
      })
    }
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  const { port } = server.address() as AddressInfo
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    answer(next) {
      decide = next
    },
    cut,
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      cut()
      await closed
    },
  }
}

function eachFrame(socket: Socket, take: (frame: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0)
  socket.on("data", (data: Buffer) => {
    rest = Buffer.concat([rest, data])
    for (let end = frameEnd(rest, 0); end > 0; end = frameEnd(rest, 0)) {
      take(rest.subarray(0, end))
      rest = rest.subarray(end)
    }
  })
}

/** Where the RESP value at `at` ends; -1 if it is incomplete. */
function frameEnd(buffer: Buffer, at: number): number {
  const line = buffer.indexOf("\r\n", at)
  if (line < 0) return -1
  const kind = String.fromCharCode(buffer[at]!)
  const count = Number(buffer.toString("latin1", at + 1, line))
  let end = line + 2
  if ("$=!".includes(kind)) {
    if (count >= 0) end += count + 2
    return end <= buffer.length ? end : -1
  }
  const values = "*~>".includes(kind) ? count : kind === "%" ? 2 * count : kind === "|" ? 2 * count + 1 : 0
  for (let index = 0; index < values && end > 0; index++) end = frameEnd(buffer, end)
  return end
}

/** Parses a command: clients send an array of bulk strings. */
function readCommand(frame: Buffer): string[] {
  const args: string[] = []
  for (let at = frame.indexOf("\r\n") + 2; at < frame.length; ) {
    const line = frame.indexOf("\r\n", at)
    const end = line + 2 + Number(frame.toString("latin1", at + 1, line))
    args.push(frame.toString("utf8", line + 2, end))
    at = end + 2
  }
  return args
}
