/**
 * A process in the file system of an image, confined as a container's is: read-only root, no rights, not root, process id 1, a
 * network of its own. The kernel's namespaces are used directly, because engines need control groups that a test machine may lack.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdir, readFile, stat, writeFile } from "node:fs/promises"
import { dirname, join } from "node:path"
import { createInterface } from "node:readline"
import { setTimeout as sleep } from "node:timers/promises"
import { promisify } from "node:util"
import { ensureProgram } from "../../harness/programs.ts"
import type { Host } from "./network.ts"

const run = promisify(execFile)

/** What an image says of its processes. */
export interface ImageConfig {
  readonly user: string
  readonly entrypoint: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly workingDirectory: string
}

export interface Mount {
  readonly source: string
  readonly target: string
  readonly readOnly: boolean
}

export interface ContainerOptions {
  /** Directory with the image's files. Mount points that it lacks are made in it. */
  readonly root: string
  readonly config: ImageConfig
  readonly host: Host
  readonly entrypoint?: readonly string[]
  readonly command: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly mounts: readonly Mount[]
  /** Bytes that may be written to /tmp, as `64m`. */
  readonly tmpSize: string
}

export interface Container {
  /** On the machine, of the process that has number 1 inside. */
  readonly pid: number
  /** Lines of stdout and stderr so far. */
  readonly log: readonly string[]
  /** Runs a command beside it, as `docker exec` does. Resolves to its exit code. */
  exec(command: readonly string[]): Promise<number>
  /** Sends SIGTERM, and SIGKILL after `graceMs`. Resolves to the exit code, 137 if it had to be killed. */
  stop(graceMs: number): Promise<number>
  /** Resolves when it has ended, to its exit code. */
  readonly exited: Promise<number>
}

const DEVICES = ["null", "zero", "full", "random", "urandom"]

/** Runs in a new mount namespace, as root, before the image's process takes over. $1 is the root, the rest is the command. */
function entry({ mounts, tmpSize, config, env }: ContainerOptions): string {
  const [uid, gid = uid] = config.user.split(":")
  const bind = ({ source, target, readOnly }: Mount) => [
    `mount --bind ${quoted(source)} "$root"${quoted(target)}`,
    ...(readOnly ? [`mount -o remount,bind,ro,nosuid,nodev "$root"${quoted(target)}`] : []),
  ]
  const given = Object.entries({ ...config.env, ...env }).map(([name, value]) => quoted(`${name}=${value}`))
  return [
    "set -e",
    'root=$1; shift; mount --bind "$root" "$root"; mount -o remount,bind,ro "$root"',
    'mount -t proc proc "$root/proc"',
    `mount -t tmpfs -o size=${tmpSize},mode=1777,nosuid,nodev tmpfs "$root/tmp"`,
    'mount -t tmpfs -o mode=755 tmpfs "$root/dev"',
    ...DEVICES.map((name) => `touch "$root/dev/${name}"; mount --bind /dev/${name} "$root/dev/${name}"`),
    'mount --bind /etc/resolv.conf "$root/etc/resolv.conf"',
    ...mounts.flatMap(bind),
    `exec chroot "$root" /usr/bin/env -i -C ${quoted(config.workingDirectory)} ${given.join(" ")} \\`,
    `  /usr/bin/setpriv --reuid ${uid} --regid ${gid} --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs "$@"`,
  ].join("\n")
}

const quoted = (text: string) => `'${text.replaceAll("'", `'\\''`)}'`

/** Needs root and Linux. Resolves once the process runs. */
export async function startContainer(options: ContainerOptions): Promise<Container> {
  const { root, config, host, entrypoint = config.entrypoint, command, mounts } = options
  const unshare = await ensureProgram("unshare", { packages: { apt: "util-linux" } })
  for (const { source, target } of mounts) await makeMountPoint(source, join(root, target))
  await makeMountPoint("/etc/resolv.conf", join(root, "etc/resolv.conf"))
  const namespaces = [
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--ipc",
    "--uts",
    "--fork",
    "--kill-child",
  ]
  const [program, ...args] = [
    ...[...host.within, unshare, ...namespaces, "sh", "-c", entry(options), "container", root],
    ...[...entrypoint, ...command],
  ]
  const child = spawn(program!, args, { stdio: ["ignore", "pipe", "pipe"] })
  const log: string[] = []
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on("line", (line) => log.push(line))
  const exited = once(child, "close").then(([code, signal]) => (signal === null ? (code as number) : 137))
  const pid = await firstProcess(child, exited, log)
  const env = { ...config.env, ...options.env }
  return {
    ...{ pid, log, exited },
    async exec(command) {
      const [uid, gid = uid] = config.user.split(":")
      const inside = ["--target", String(pid), "--all", "--root", "--wd", "--setuid", uid!, "--setgid", gid!]
      return run("nsenter", [...inside, ...command], { env, timeout: 30_000 }).then(
        () => 0,
        ({ code }) => (typeof code === "number" ? code : 1),
      )
    },
    async stop(graceMs) {
      if (child.exitCode === null && child.signalCode === null) process.kill(pid, "SIGTERM")
      const force = setTimeout(() => child.kill("SIGKILL"), graceMs)
      const code = await exited
      clearTimeout(force)
      return code
    },
  }
}

async function makeMountPoint(source: string, target: string): Promise<void> {
  if ((await stat(source)).isDirectory()) return void (await mkdir(target, { recursive: true }))
  await mkdir(dirname(target), { recursive: true })
  await writeFile(target, "", { flag: "a" })
}

/** `unshare` has one child: process 1 of the new namespace. It is ours once it is not a shell any more. */
async function firstProcess(child: ChildProcess, exited: Promise<number>, log: string[]): Promise<number> {
  let code: number | undefined
  exited.then((ended) => {
    code = ended
  })
  const deadline = Date.now() + 60_000
  while (code === undefined && Date.now() < deadline) {
    const own = await readFile(`/proc/${child.pid}/task/${child.pid}/children`, "utf8").catch(() => "")
    const pid = Number.parseInt(own, 10)
    if (pid > 0) {
      const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "")
      // A process that still has rights is still being set up.
      if (/^CapBnd:\t0+$/m.test(status) && !/^Name:\t(sh|env|setpriv|chroot)$/m.test(status)) return pid
    }
    await sleep(20)
  }
  throw new Error(`the container did not start (${code ?? "still at it"}):\n${log.slice(-20).join("\n")}`)
}
