/**
 * `docker compose up` without an engine: the services of docker-compose.yml in its order, each on a host of its own, ours from the
 * image. Redis is the machine's, Azurite the one of the tests, and the project's own S3 server stands in for SeaweedFS.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { chmod, chown, mkdir, mkdtemp, rename, rm, stat, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"
import { ROOT, readCompose, type Service } from "../../compose/compose-file.ts"
import { installPackages } from "../../harness/packages.ts"
import { ensureProgram } from "../../harness/programs.ts"
import { type Container, type ImageConfig, type Mount, startContainer } from "./container.ts"
import { createNetwork, type Host } from "./network.ts"

const run = promisify(execFile)
const NODE = process.execPath
/** Longer than anything takes to become healthy on a slow machine. */
const HEALTHY_WITHIN_MS = 180_000

export interface ComposeRun {
  /** The containers of ours that run, by service, `worker` twice. */
  readonly containers: readonly { readonly service: string; readonly container: Container }[]
  /** Starts a service without being in a profile that is on, and shows its output until it ends. */
  runOnce(
    service: string,
    command: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<{ code: number; output: string }>
  /** A GET from the host of `service`, as its own processes would send it. */
  get(service: string, url: string): Promise<{ status: number; body: string }>
  /** An object of a store, read from the host of `service` with its credentials. */
  read(service: string, store: string, key: string): Promise<Buffer>
  /** Where the file's named volume is on this machine. */
  folderOf(volume: string): string
  /** Stops our services in the reverse order, within the file's grace. Resolves to their exit codes by service. */
  stop(): Promise<readonly (readonly [string, number])[]>
  /** Ends everything that is left and removes its files. */
  close(): Promise<void>
}

export async function composeUp(image: { root: string; config: ImageConfig }): Promise<ComposeRun> {
  const { services, volumes } = readCompose()
  const directory = await mkdtemp(join(tmpdir(), "unseal-compose-up-"))
  const network = await createNetwork()
  const children: ChildProcess[] = []
  const containers: { service: string; container: Container }[] = []
  const names: Record<string, string[]> = {}
  const hosts = new Map<string, Host>()

  async function close(): Promise<void> {
    for (const { container } of containers) await container.stop(0)
    for (const child of children.reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      child.kill("SIGKILL")
      await once(child, "close")
    }
    await network.close()
    await rm(directory, { recursive: true, force: true })
  }

  async function hostOf(name: string, service: string): Promise<Host> {
    const host = await network.addHost(name)
    hosts.set(name, host)
    names[service] = [...(names[service] ?? []), host.address]
    // The name server may be reading it.
    await writeFile(join(directory, "names.new"), JSON.stringify(names))
    await rename(join(directory, "names.new"), join(directory, "names.json"))
    return host
  }

  /** A program of the machine that runs on. Resolves when it has said `ready`, or at once without. */
  async function start(host: Host, command: readonly string[], ready?: RegExp): Promise<void> {
    const [program, ...args] = [...host.within, ...command]
    const child = spawn(program!, args, { cwd: directory, stdio: ["ignore", "pipe", "pipe"] })
    children.push(child)
    let output = ""
    await new Promise<void>((resolve, reject) => {
      for (const stream of [child.stdout, child.stderr])
        stream.on("data", (chunk) => {
          output = (output + chunk).slice(-8_000)
          if (ready?.test(output)) resolve()
        })
      child.once("error", reject)
      child.once("close", (code) => reject(new Error(`${command.join(" ")} ended with ${code}:\n${output}`)))
      if (ready === undefined) resolve()
    })
  }

  /** As an engine does with a named volume that is empty: it gets the owner and mode of what the image has in its place. */
  async function makeVolume(name: string, target: string): Promise<string> {
    const path = join(directory, "volumes", name)
    const isNew = await mkdir(path, { recursive: true })
    const inImage = await stat(join(image.root, target)).catch(() => null)
    if (isNew !== undefined && inImage !== null) {
      await chown(path, inImage.uid, inImage.gid)
      await chmod(path, inImage.mode & 0o777)
    }
    return path
  }

  async function mountsOf({ volumes: mounts = [] }: Service): Promise<Mount[]> {
    return Promise.all(
      mounts.map(async (mount) => {
        const [source = "", target = "", mode] = mount.split(":")
        const path = volumes.includes(source) ? await makeVolume(source, target) : join(ROOT, source)
        return { source: path, target, readOnly: mode === "ro" }
      }),
    )
  }

  async function startOurs(
    service: string,
    host: Host,
    command?: readonly string[],
    env?: Readonly<Record<string, string>>,
  ): Promise<Container> {
    const definition = services[service]!
    const [, tmpSize = ""] = /^\/tmp:size=(\d+m)$/.exec(definition.tmpfs![0]!) ?? []
    return startContainer({
      ...{ root: image.root, config: image.config, tmpSize, host },
      ...(definition.entrypoint && { entrypoint: definition.entrypoint }),
      command: command ?? definition.command ?? [],
      env: { ...definition.environment, ...env },
      mounts: await mountsOf(definition),
    })
  }

  async function untilHealthy(
    title: string,
    ask: () => Promise<boolean>,
    container?: Container,
  ): Promise<void> {
    const deadline = Date.now() + HEALTHY_WITHIN_MS
    let ended: number | undefined
    container?.exited.then((code) => {
      ended = code
    })
    while (Date.now() < deadline && ended === undefined) {
      if (await ask()) return
      await sleep(500)
    }
    const log = container?.log.slice(-30).join("\n") ?? ""
    throw new Error(`${title} is not healthy (${ended ?? "it runs"}):\n${log}`)
  }

  const standIns: Record<string, (service: Service) => Promise<void>> = {
    async redis({ command = [], healthcheck }) {
      const redis = await ensureProgram("redis-server", { packages: { apt: "redis-server" } })
      const host = await hostOf("redis", "redis")
      await start(host, [redis, ...command.slice(1)])
      const [kind, test = ""] = healthcheck!.test
      if (kind !== "CMD-SHELL") throw new Error(`redis is asked by ${kind}`)
      const [program, ...args] = [...host.within, "sh", "-c", test]
      await untilHealthy("redis", () =>
        run(program!, args).then(
          () => true,
          () => false,
        ),
      )
    },
    async seaweedfs() {
      const host = await hostOf("seaweedfs", "seaweedfs")
      await start(host, [NODE, join(import.meta.dirname, "store.ts")], /listening/)
    },
    async azurite({ command = [] }) {
      const folder = await installPackages("azurite")
      const data = await makeVolume("azurite", "/data")
      const [, ...args] = command.filter((word) => word !== "--silent")
      const host = await hostOf("azurite", "azurite")
      const main = join(folder, "node_modules/azurite/dist/src/blob/main.js")
      const moved = args.map((word) => (word === "--location=/data" ? `--location=${data}` : word))
      await start(host, [NODE, main, ...moved], /successfully listens/)
    },
  }

  async function up(name: string): Promise<void> {
    const definition = services[name]!
    const standIn = standIns[name]
    if (standIn !== undefined) return standIn(definition)
    for (let number = 1; number <= (definition.scale ?? 1); number++) {
      const container = await startOurs(name, await hostOf(`${name}-${number}`, name))
      if (definition.healthcheck === undefined) {
        const code = await container.exited
        if (code !== 0) throw new Error(`${name} ended with ${code}:\n${container.log.slice(-30).join("\n")}`)
        continue
      }
      containers.push({ service: name, container })
      const [, ...test] = definition.healthcheck.test
      await untilHealthy(name, async () => (await container.exec(test)) === 0, container)
    }
  }

  try {
    await writeFile(join(directory, "names.json"), "{}")
    await start(
      network.nameServer,
      [
        NODE,
        join(import.meta.dirname, "name-server.ts"),
        network.nameServer.address,
        join(directory, "names.json"),
      ],
      /listening/,
    )
    const started = new Set<string>()
    const wanted = Object.keys(services).filter((name) => services[name]!.profiles === undefined)
    while (started.size < wanted.length) {
      const next = wanted.find(
        (name) =>
          !started.has(name) &&
          Object.keys(services[name]!.depends_on ?? {}).every((needed) => started.has(needed)),
      )
      if (next === undefined) throw new Error("the services wait for each other")
      await up(next)
      started.add(next)
    }
  } catch (error) {
    await close()
    throw error
  }

  return {
    containers,
    async runOnce(service, command, env) {
      const host = hosts.get(`${service}-once`) ?? (await hostOf(`${service}-once`, service))
      const container = await startOurs(service, host, command, env)
      const code = await container.exited
      return { code, output: container.log.join("\n") }
    },
    async get(service, url) {
      const host = hosts.get(service) ?? hosts.get(`${service}-1`)!
      const ask =
        "const answer = await fetch(process.argv[1]); console.log(JSON.stringify({ status: answer.status, body: await answer.text() }))"
      const [program, ...args] = [...host.within, NODE, "--input-type=module", "-e", ask, url]
      const { stdout } = await run(program!, args, { timeout: 60_000, maxBuffer: 64 * 2 ** 20 })
      return JSON.parse(stdout)
    },
    async read(service, store, key) {
      const host = hosts.get(service) ?? hosts.get(`${service}-1`)!
      const [program, ...args] = [
        ...host.within,
        NODE,
        join(import.meta.dirname, "read-object.ts"),
        store,
        key,
      ]
      const env = { PATH: process.env.PATH, ...services[service]!.environment }
      const options = { env, encoding: "buffer", timeout: 120_000, maxBuffer: 64 * 2 ** 20 } as const
      return (await run(program!, args, options)).stdout
    },
    folderOf: (volume) => join(directory, "volumes", volume),
    async stop() {
      const codes: (readonly [string, number])[] = []
      for (const { service, container } of containers.splice(0).reverse()) {
        const grace = Number.parseInt(services[service]!.stop_grace_period!, 10) * 1_000
        codes.push([service, await container.stop(grace)])
      }
      return codes
    },
    close,
  }
}
