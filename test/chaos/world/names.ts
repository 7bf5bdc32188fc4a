/** Host names of a test's own: a name server on loopback, and processes whose resolver asks only that server. */
import { randomInt } from "node:crypto"
import { createSocket } from "node:dgram"
import { once } from "node:events"
import { mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ensureProgram } from "@unseal/test/harness/programs"
import { decode, encode, RECURSION_DESIRED } from "dns-packet"

/** How a name server fails: with silence, with an error, or by denying every name. */
export type NamesTrouble = "silent" | "SERVFAIL" | "NXDOMAIN"

export interface Names {
  /** A command prefix: the command behind it gets its names from this server (`StartOptions.within`). */
  readonly within: readonly string[]
  /** The number of questions so far. */
  readonly asked: number
  /** Applies from now on. Without trouble every name resolves to this machine. */
  trouble(trouble: NamesTrouble | null): void
  close(): Promise<void>
}

const NO_ERROR = 0
const CODES = { SERVFAIL: 2, NXDOMAIN: 3 } as const

/** Starts a name server, and a mount namespace whose `/etc/resolv.conf` lists only that server. Needs root. */
export async function startNames(): Promise<Names> {
  if (process.getuid?.() !== 0)
    throw new Error(
      "a resolver of its own needs port 53 and a mount namespace, and those need root: run this row as root",
    )
  const unshare = await ensureProgram("unshare", {
    packages: { apt: "util-linux", dnf: "util-linux", apk: "util-linux" },
  })
  const directory = await mkdtemp(join(tmpdir(), "unseal-names-"))
  const server = createSocket("udp4")
  let trouble: NamesTrouble | null = null
  let asked = 0
  server.on("message", (message, client) => {
    asked++
    if (trouble === "silent") return
    const { id, questions = [] } = decode(message)
    const answers = trouble
      ? []
      : questions.flatMap(({ name, type }) =>
          // A time to live of 0: a resolver with cached answers would not notice the trouble.
          type === "A" ? [{ type: "A" as const, name, ttl: 0, data: "127.0.0.1" }] : [],
        )
    const flags = RECURSION_DESIRED | (trouble ? CODES[trouble] : NO_ERROR)
    server.send(
      encode({ type: "response", id: id ?? 0, flags, questions, answers }),
      client.port,
      client.address,
    )
  })
  const close = async () => {
    server.close()
    await rm(directory, { recursive: true })
  }
  // The only port that resolvers ask. Each run picks a loopback address of its own, so that runs don't collide.
  const address = `127.53.${randomInt(256)}.${randomInt(1, 255)}`
  server.bind(53, address)
  await once(server, "listening")
  const resolver = join(directory, "resolv.conf")
  await writeFile(resolver, `nameserver ${address}\n`)
  const inNamespace = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'
  return {
    within: [unshare, "--mount", "sh", "-c", inNamespace, resolver],
    get asked() {
      return asked
    },
    trouble(next) {
      trouble = next
    },
    close,
  }
}
