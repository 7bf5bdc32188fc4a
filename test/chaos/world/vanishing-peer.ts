/** A server that can vanish from the network: its packets are dropped in both directions, and nobody is told. */
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process"
import { randomBytes, randomInt } from "node:crypto"
import { once } from "node:events"
import { mkdtemp, rm } from "node:fs/promises"
import { connect, createServer, type Socket } from "node:net"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { promisify } from "node:util"
import { ensureProgram } from "@unseal/test/harness/programs"

const run = promisify(execFile)
const RELAY = resolve(import.meta.dirname, "namespace-relay.ts")
const PORT = 9_000
/** An answer that has grown within this time is in the middle of its body. */
const FLOWING_MS = 100
/** A connection without traffic for this long waits for its next request. */
const IDLE_MS = 500

export interface VanishingPeer {
  /** `http://address:port`, in a network namespace of its own. */
  readonly url: string
  /** Counts connections by their current traffic. */
  connections(): { readonly flowing: number; readonly idle: number }
  /** Drops every packet from and to it: no FIN, no RST, no answer to a SYN. */
  vanish(): Promise<void>
  comeBack(): Promise<void>
  /** Removes the namespace with its addresses and rules. */
  close(): Promise<void>
}

/** Gives the server on loopback's `targetPort` a second address, in a network namespace. Needs root. */
export async function startVanishingPeer(targetPort: number): Promise<VanishingPeer> {
  if (process.getuid?.() !== 0)
    throw new Error(
      "a peer that vanishes needs a network namespace, and that needs root: run this row as root",
    )
  const ip = await ensureProgram("ip", { packages: { apt: "iproute2", dnf: "iproute", apk: "iproute2" } })
  const iptables = await ensureProgram("iptables", {
    packages: { apt: "iptables", dnf: "iptables-nft", apk: "iptables" },
  })
  const id = randomBytes(3).toString("hex")
  const [namespace, outside, inside] = [`unseal-chaos-${id}`, `unseal${id}o`, `unseal${id}i`]
  // An address range reserved for network tests; four addresses per link.
  const [third, fourth] = [randomInt(256), randomInt(64) * 4]
  const address = (last: number) => `198.18.${third}.${fourth + last}`
  const within = (...command: string[]) => run(ip, ["netns", "exec", namespace, ...command])

  const directory = await mkdtemp(join(tmpdir(), "unseal-peer-"))
  const traffic = new Map<Socket, number>()
  const path = join(directory, "socket")
  const bridge = createServer((client) => {
    const server = connect({ port: targetPort, host: "127.0.0.1", noDelay: true })
    traffic.set(client, Date.now())
    server.on("data", () => traffic.set(client, Date.now()))
    for (const [from, to] of [
      [client, server],
      [server, client],
    ] as const) {
      from.pipe(to)
      from.on("error", () => {})
      from.on("close", () => to.destroy())
    }
    client.once("close", () => traffic.delete(client))
  })
  let relay: ChildProcess | undefined
  const endWithUs = () => {
    relay?.kill("SIGKILL")
    try {
      execFileSync(ip, ["netns", "del", namespace], { stdio: "ignore" })
    } catch {
      // It does not exist yet, or no longer.
    }
  }
  process.once("exit", endWithUs)

  async function close(): Promise<void> {
    process.off("exit", endWithUs)
    endWithUs()
    // The kernel removes the link later than the namespace's name.
    await run(ip, ["link", "del", outside]).catch(() => {})
    for (const socket of traffic.keys()) socket.destroy()
    bridge.close()
    await rm(directory, { recursive: true, force: true })
  }

  try {
    bridge.listen(path)
    await once(bridge, "listening")
    await run(ip, ["netns", "add", namespace])
    await run(ip, ["link", "add", outside, "type", "veth", "peer", "name", inside, "netns", namespace])
    await run(ip, ["addr", "add", `${address(1)}/30`, "dev", outside])
    await run(ip, ["link", "set", outside, "up"])
    await run(ip, ["-n", namespace, "addr", "add", `${address(2)}/30`, "dev", inside])
    await run(ip, ["-n", namespace, "link", "set", inside, "up"])
    const relayed = [process.execPath, RELAY, address(2), String(PORT), path]
    relay = spawn(ip, ["netns", "exec", namespace, ...relayed], { stdio: ["pipe", "pipe", "inherit"] })
    const listening = await Promise.race([
      once(relay.stdout!, "data").then(() => true),
      once(relay, "exit").then(() => false),
    ])
    if (!listening) throw new Error(`the relay in the namespace ${namespace} did not start`)
  } catch (error) {
    await close()
    throw error
  }

  const both = async (action: "-I" | "-D") => {
    for (const chain of ["INPUT", "OUTPUT"]) await within(iptables, "-w", action, chain, "-j", "DROP")
  }
  return {
    url: `http://${address(2)}:${PORT}`,
    connections() {
      const silent = [...traffic.values()].map((at) => Date.now() - at)
      return {
        flowing: silent.filter((ms) => ms <= FLOWING_MS).length,
        idle: silent.filter((ms) => ms >= IDLE_MS).length,
      }
    },
    vanish: () => both("-I"),
    comeBack: () => both("-D"),
    close,
  }
}
