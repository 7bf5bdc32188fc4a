import { spawn } from "node:child_process"
import { once } from "node:events"
import { connect } from "node:net"
import { join } from "node:path"
import { expect, it } from "vitest"
import { ensureProgram } from "../harness/programs.ts"
import { missing, stepsOf } from "./blocks.ts"

/** The ports of the README's processes: the defaults, and those that it names. */
const PORTS = [6390, 8080, 8082, 8083, 8084, 8085, 9000, 9001, 9090, 9091]

async function run(command: string, ...args: string[]): Promise<{ code: number; output: string }> {
  const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] })
  let output = ""
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding("utf8").on("data", (text: string) => {
      output += text
    })
  const [code] = (await once(child, "close")) as [number | null]
  return { code: code ?? 1, output }
}

async function isTaken(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1")
  try {
    await once(socket, "connect")
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** Runs the walk in a network of its own, where the README's ports are free; or on this machine, if they are free there. */
async function walk(): Promise<{ code: number; output: string }> {
  const command = [process.execPath, join(import.meta.dirname, "walk.ts")] as const
  const up = "ip link set lo up"
  const isAble = await ensureProgram("ip", { packages: { apt: "iproute2", dnf: "iproute", apk: "iproute2" } })
    .then(() => run("unshare", "--net", "sh", "-c", up))
    .catch((error: Error) => ({ code: 1, output: error.message }))
  if (isAble.code === 0) return run("unshare", "--net", "sh", "-c", `${up}; exec "$@"`, "sh", ...command)
  const taken = (await Promise.all(PORTS.map(isTaken))).flatMap((is, at) => (is ? [PORTS[at]] : []))
  if (taken.length > 0)
    throw new Error(
      `the README's ports ${taken.join(", ")} are taken, and this machine permits no network of our own: ${isAble.output}`,
    )
  return run(...command)
}

it("works as it stands, block after block, for somebody who begins with a fresh clone, and so do the pages that continue it", async () => {
  const { code, output } = await walk()
  expect(code, output).toBe(0)
}, 600_000)

it("is read as steps: commands with their output, Ctrl-C, and nothing else", () => {
  const fence = "```"
  const document = [
    ...[`${fence}sh`, "echo 1", fence, "prose", `${fence}text`, "1", fence],
    ...[`${fence}sh terminal=worker`, "sleep 9", fence, `${fence}text`, "…", fence],
    ...[`${fence}yaml`, "a: 1", fence, `${fence}text terminal=worker`, "^C", fence],
  ].join("\n")
  expect(stepsOf(document)).toMatchObject([
    { line: 2, terminal: "main", script: "echo 1", expected: [{ line: 6, text: "1" }] },
    { line: 9, terminal: "worker", script: "sleep 9" },
    { line: 18, terminals: ["worker"] },
  ])
  expect(() => stepsOf(`  ${fence}sh\n  ls\n  ${fence}`)).toThrow("line 1: a block in a list is not run")
  expect(() => stepsOf(`${fence}sh terminal=x\nsleep 9\n${fence}`)).toThrow("line 2: nothing tells when")
  expect(() => stepsOf(`${fence}sh sometimes\nls\n${fence}`)).toThrow("there is no sometimes")
})

it("compares the lines that it shows, in their order, whatever stands between them", () => {
  const shown = (...texts: string[]) => texts.map((text, index) => ({ line: index + 1, text }))
  expect(missing(shown("a  1", "c …"), "a 1\nb\nc 22\n")).toBeUndefined()
  expect(missing(shown("c …", "a 1"), "a 1\nb\nc 22\n")).toEqual({ line: 2, text: "a 1" })
  expect(missing(shown("a"), "ab\n")).toEqual({ line: 1, text: "a" })
})
