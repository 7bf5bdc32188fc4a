// Starts each process of an installed Unseal up to the point where it refuses a setting, so that Node keeps its compiled code: for
// the user of the image, and in the folder that the image names in NODE_COMPILE_CACHE.
//
//   node --random-seed=1 --predictable compile.mjs FOLDER CACHE
import { spawnSync } from "node:child_process"
import { chownSync, existsSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

/** The user of the image. */
const USER = 10001
/** Each with something that it refuses before it does anything. */
const STARTS = [
  [["ingest"], { UNSEAL_PORT: "none" }],
  [["worker"], { UNSEAL_CONCURRENCY: "none" }],
  [["console"], { UNSEAL_PORT: "none" }],
  [["simulator"], { SIMULATOR_PORT: "none" }],
  [["queue", "status"], { REDIS_URL: "none" }],
]
const START_MS = 120_000

const [folder, cache] = process.argv.slice(2)
const entry = join(folder ?? "", "node_modules/.bin/unseal")
if (!existsSync(entry))
  throw new Error(`${entry} does not exist: name the folder that Unseal is installed in`)
if (cache === undefined) throw new Error("name the folder that compiled code goes into")
mkdirSync(cache, { recursive: true })
chownSync(cache, USER, USER)
for (const [command, wrong] of STARTS) {
  const { status, signal, stderr } = spawnSync(process.execPath, [...process.execArgv, entry, ...command], {
    env: {
      ...{ PATH: process.env.PATH, HOME: "/nonexistent", NODE_ENV: "production" },
      NODE_COMPILE_CACHE: cache,
      // What is loaded only when it is needed is loaded here too.
      NODE_OPTIONS: `--import=${fileURLToPath(new URL("load-all.mjs", import.meta.url))}`,
      ...wrong,
    },
    ...{ uid: USER, gid: USER, cwd: folder, timeout: START_MS, encoding: "utf8" },
  })
  if (status !== 2)
    throw new Error(`unseal ${command.join(" ")} ended with ${status ?? signal}, not 2:\n${stderr}`)
}
