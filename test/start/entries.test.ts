/** What the entries do before their mains: flags, threads, signals of a container's first process, and help. */
import { type ChildProcess, fork, spawn, spawnSync } from "node:child_process"
import { once } from "node:events"
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { text } from "node:stream/consumers"
import { pathToFileURL } from "node:url"
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest"
import { NODES } from "./nodes.ts"

const ROOT = resolve(import.meta.dirname, "../..")
const ENTRY = pathToFileURL(join(ROOT, "apps/entry.mjs")).href
const PROCESSES = ["ingest", "worker", "console", "simulator"] as const
const entryOf = (name: string) => `apps/${name}/bin/unseal-${name}.mjs`
const CLI = "apps/cli/bin/unseal.mjs"

/** Says what it was given and, of the space for young objects, what V8 takes when much outlives it. */
const PROBE = `
  import { getHeapSpaceStatistics } from "node:v8"
  const kept = []
  let young = 0
  for (let round = 0; round < 200; round++) {
    for (let index = 0; index < 5_000; index++) kept[index] = { round, numbers: [index, round], text: "x" + index }
    const { space_size } = getHeapSpaceStatistics().find(({ space_name }) => space_name === "new_space")
    young = Math.max(young, space_size)
  }
  const { pid, execArgv, env, argv, version } = process
  const said = { pid, flags: execArgv, threads: env.UV_THREADPOOL_SIZE, args: argv.slice(2), version, young }
  if (process.send) process.send(said, () => process.disconnect())
  else console.log(JSON.stringify(said))`

/** Loads for as long as it takes, and listens for no signal. */
const LOADING = `
  console.log("loading")
  setInterval(() => {}, 1_000)
  await new Promise(() => {})`

interface Said {
  readonly pid: number
  readonly flags: readonly string[]
  readonly threads: string
  readonly args: readonly string[]
  readonly version: string
  /** Bytes. */
  readonly young: number
}

const MIB = 1024 * 1024

let directory: string
const children: ChildProcess[] = []
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "unseal-entries-"))
  for (const [name, main] of Object.entries({ probe: PROBE, loading: LOADING })) {
    const file = join(directory, `${name}.mjs`)
    writeFileSync(file, main)
    writeFileSync(
      join(directory, `enter-${name}.mjs`),
      `import { enter, PROCESSES } from ${JSON.stringify(ENTRY)}
       const main = () => import(${JSON.stringify(pathToFileURL(file).href)})
       await enter({ ...PROCESSES.worker, help: undefined, main })`,
    )
  }
})
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL")
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const environment = (more: Record<string, string> = {}) => ({ PATH: process.env.PATH, ...more })

/** Enters the probe with the worker's flags. */
async function probe(node: string, env: Record<string, string> = {}): Promise<Said & { spawned: number }> {
  const child = spawn(node, [join(directory, "enter-probe.mjs"), "an argument"], {
    env: environment(env),
    stdio: ["ignore", "pipe", "inherit"],
  })
  children.push(child)
  return { ...JSON.parse(await text(child.stdout)), spawned: child.pid }
}

describe.each(NODES)("the worker's entry, with Node at %s", (node) => {
  it("gives the main V8's 4 MiB for young objects, 16 threads, and the Node that it needs", async () => {
    const said = await probe(node)
    expect(said).toMatchObject({
      flags: ["--min-semi-space-size=4", "--max-semi-space-size=4"],
      threads: "16",
      args: ["an argument"],
      version: process.version,
    })
    // Two halves of 4 MiB, and what V8 rounds up.
    expect(said.young).toBeLessThan(9 * MIB)
  })
})

describe("the worker's entry", () => {
  it("keeps its process: a signal to the one that was started reaches the one that works", async () => {
    const said = await probe(process.execPath)
    expect(said.pid).toBe(said.spawned)
  })

  it("leaves V8's flags and the threads to whoever has set them", async () => {
    const said = await probe(process.execPath, {
      NODE_OPTIONS: "--max-semi-space-size=32",
      UV_THREADPOOL_SIZE: "6",
    })
    // The smaller one is still ours.
    expect(said).toMatchObject({ flags: ["--min-semi-space-size=4"], threads: "6" })
    expect(said.young).toBeGreaterThan(9 * MIB)
  })

  it("keeps the channel to a parent that has opened one, and goes without flags instead", async () => {
    const child = fork(join(directory, "enter-probe.mjs"), {
      env: environment(),
      execArgv: [],
      execPath: process.execPath,
    })
    children.push(child)
    const [said] = (await once(child, "message")) as [Said]
    expect(said).toMatchObject({ pid: child.pid, flags: [], threads: "16" })
  })
})

/** The first process of a pid namespace, as in a container. */
function startAsInit(entry: string, env: Record<string, string> = {}) {
  const user = process.getuid?.() === 0 ? [] : ["--user", "--map-root-user"]
  const child = spawn("unshare", [...user, "--fork", "--pid", process.execPath, entry], {
    cwd: ROOT,
    env: environment(env),
    stdio: ["ignore", "pipe", "inherit"],
  })
  children.push(child)
  let output = ""
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    output += chunk
  })
  const first = () => Number(readFileSync(`/proc/${child.pid}/task/${child.pid}/children`, "utf8"))
  return {
    says: (words: string) => expect.poll(() => output, { timeout: 60_000 }).toContain(words),
    async end() {
      const exited = once(child, "exit")
      process.kill(first(), "SIGTERM")
      const [code] = await Promise.race([
        exited,
        new Promise<["did not end"]>((late) => setTimeout(() => late(["did not end"]), 30_000).unref()),
      ])
      if (code === "did not end") process.kill(first(), "SIGKILL")
      return code
    },
  }
}

describe.runIf(process.platform === "linux")("the first process of a container", () => {
  it("ends on a signal while its main still loads", async () => {
    const init = startAsInit(join(directory, "enter-loading.mjs"))
    await init.says("loading")
    expect(await init.end()).toBe(0)
  })

  it("ends in order on a signal once it runs", async () => {
    const init = startAsInit(entryOf("simulator"), {
      SIMULATOR_PORT: "0",
      SIMULATOR_STORE: `file://${directory}`,
      SIMULATOR_REST_PORT: "0",
      SIMULATOR_API_SECRET: "an-api-secret",
    })
    await init.says('"msg":"listening"')
    expect(await init.end()).toBe(0)
    await init.says('"msg":"stopped"')
  })
})

/** Runs an entry to its end. */
function run(args: readonly string[], env: Record<string, string> = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, args, {
    ...{ cwd: ROOT, encoding: "utf8", timeout: 60_000 },
    env: environment(env),
  })
  return { status, stdout, stderr }
}

describe.each(PROCESSES)("%s", (name) => {
  it("is started by npm through its entry", () => {
    const { scripts } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"))
    expect(scripts[`start:${name}`]).toBe(`exec node scripts/bootstrap.mjs node ${entryOf(name)}`)
  })

  it("lists its settings, without any of them", () => {
    const help = run([entryOf(name), "--help"])
    expect(help).toMatchObject({ status: 0, stderr: "" })
    expect(help.stdout).toContain(`Usage: unseal ${name}\n`)
    expect(help.stdout).toContain("  LOG_LEVEL=info\n")
    expect(run([CLI, "help", name])).toEqual(help)
  })

  it("refuses arguments, because it has none", () => {
    expect(run([CLI, name, "--port", "80"])).toEqual({
      ...{ status: 2, stdout: "" },
      stderr: `unseal ${name} takes no arguments: "unseal ${name} --help" lists its settings, which are environment variables\n`,
    })
  })

  it("runs the same main by its own entry and as a subcommand", () => {
    const [own, subcommand] = [[entryOf(name)], [CLI, name]].map((args) =>
      run(args, {
        ...{ LOG_LEVEL: "loud", UNSEAL_PRT: "1", SIMULATOR_PRT: "1" },
        SIMULATOR_STORE: "file:///nowhere",
      }),
    )
    expect(own).toMatchObject({ status: 2, stdout: "" })
    expect(own!.stderr).toContain("LOG_LEVEL")
    expect(own!.stderr).toContain(name === "simulator" ? "SIMULATOR_PRT" : "UNSEAL_PRT")
    expect(subcommand).toEqual(own)
  })
})

it("the command line lists the processes, and says where their names belong", () => {
  const { stdout } = run([CLI, "--help"])
  for (const name of PROCESSES) expect(stdout).toMatch(new RegExp(`^  ${name} `, "m"))
  expect(run([CLI, "--", "worker"])).toMatchObject({
    status: 2,
    stderr: 'unseal: "worker" must be the first argument: unseal worker\n',
  })
})
