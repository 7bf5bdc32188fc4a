/** A network of its own for the services of a test: a namespace for each, joined by a bridge that leads nowhere else. */
import { execFile } from "node:child_process"
import { mkdir, rm, writeFile } from "node:fs/promises"
import { join } from "node:path"
import { promisify } from "node:util"
import { ensureProgram } from "../../harness/programs.ts"

const run = promisify(execFile)

/** One host in the network. */
export interface Host {
  /** Of its network namespace. */
  readonly namespace: string
  readonly address: string
  /** Prefix of a command that runs on this host, as root and with the machine's files. */
  readonly within: readonly string[]
}

export interface Network {
  /** The address that every host asks for names. Nobody serves it until somebody is started there (`switch`). */
  readonly nameServer: Host
  addHost(name: string): Promise<Host>
  close(): Promise<void>
}

/** Needs root and Linux. */
export async function createNetwork(): Promise<Network> {
  const ip = await ensureProgram("ip", { packages: { apt: "iproute2", dnf: "iproute", apk: "iproute2" } })
  const label = `unseal${process.pid}`
  const namespaces: string[] = []

  async function addNamespace(name: string): Promise<string> {
    const namespace = `${label}-${name}`
    await run(ip, ["netns", "add", namespace])
    namespaces.push(namespace)
    await run(ip, ["-n", namespace, "link", "set", "lo", "up"])
    // What runs within the namespace has this in place of the machine's own file.
    await mkdir(join("/etc/netns", namespace), { recursive: true })
    await writeFile(join("/etc/netns", namespace, "resolv.conf"), `nameserver ${addressOf(0)}\n`)
    return namespace
  }

  const bridge = await addNamespace("switch")
  await run(ip, ["-n", bridge, "link", "add", "switch", "type", "bridge"])
  await run(ip, ["-n", bridge, "link", "set", "switch", "up"])
  await run(ip, ["-n", bridge, "address", "add", `${addressOf(0)}/24`, "dev", "switch"])
  const hostOf = (namespace: string, address: string): Host => ({
    namespace,
    address,
    within: [ip, "netns", "exec", namespace],
  })

  return {
    nameServer: hostOf(bridge, addressOf(0)),
    async addHost(name) {
      const namespace = await addNamespace(name)
      const number = namespaces.length - 1
      const [near, far] = ["eth0", `port${number}`]
      await run(ip, [
        "-n",
        bridge,
        "link",
        "add",
        far,
        "type",
        "veth",
        "peer",
        "name",
        near,
        "netns",
        namespace,
      ])
      await run(ip, ["-n", bridge, "link", "set", far, "master", "switch", "up"])
      await run(ip, ["-n", namespace, "address", "add", `${addressOf(number)}/24`, "dev", near])
      await run(ip, ["-n", namespace, "link", "set", near, "up"])
      return hostOf(namespace, addressOf(number))
    },
    async close() {
      for (const namespace of namespaces.splice(0).reverse()) {
        await run(ip, ["netns", "delete", namespace])
        await rm(join("/etc/netns", namespace), { recursive: true, force: true })
      }
    },
  }
}

const addressOf = (number: number) => `10.213.0.${number + 1}`
