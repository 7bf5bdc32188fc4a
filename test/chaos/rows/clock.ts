import { existsSync } from "node:fs"
import { ensureProgram } from "@unseal/test/harness/programs"
import { inWorld, type Row } from "../row.ts"
import { DEMAND, throughTrouble } from "../trouble.ts"
import { readJobs } from "../world/jobs.ts"

/** Where Debian, Fedora and Alpine install it. */
const LIBRARIES = [
  `/usr/lib/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu/faketime/libfaketimeMT.so.1`,
  ...["/usr/lib64/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1"],
]

/** The value of `LD_PRELOAD` for the library. Installs it with the package system if it is missing. */
async function faketime(): Promise<string> {
  await ensureProgram("faketime", {
    packages: { apt: "faketime", dnf: "libfaketime", apk: "libfaketime" },
  })
  const found = LIBRARIES.find((path) => existsSync(path))
  if (found === undefined)
    throw new Error(`faketime is installed, but its library is not one of ${LIBRARIES.join(", ")}`)
  return found
}

/** The environment of a worker whose wall clock is off by `offset` (`+1h`). Its monotonic clock stays right. */
async function clockOff(offset: string): Promise<Record<string, string>> {
  return { LD_PRELOAD: await faketime(), FAKETIME: offset, FAKETIME_DONT_FAKE_MONOTONIC: "1" }
}

/** Two of four workers have clocks that are an hour off, one each way, for as long as other rows have trouble. */
export const clockWrong: Row = {
  name: "clock-wrong",
  fault: "one worker's clock is an hour ahead and another's an hour behind, beside two that are right",
  demand: DEMAND,
  run: (options) =>
    inWorld(options, { workers: 2, second: async () => ({}) }, async (world) => {
      const findings = await throughTrouble(world, options, {
        what: "two clocks are wrong",
        stops: false,
        // An ended job is kept for an hour by the clock of the worker that ends one.
        forgets: true,
        async begin() {
          await world.startWorker(await clockOff("+1h"))
          await world.startWorker(await clockOff("-1h"))
        },
        async end() {
          for (const worker of world.workers.slice(2)) await worker.stop()
        },
      })
      const jobs = await readJobs(world)
      const idle = world.members
        .filter(({ name }) => name === "worker 3" || name === "worker 4")
        .filter(({ log }) => !log.some(({ msg }) => msg === "archive committed"))
      return {
        ...findings,
        failures: [
          ...(findings.failures ?? []),
          ...idle.map(({ name }) => `${name}, whose clock is wrong, has committed nothing of ${jobs.length}`),
        ],
      }
    }),
}
