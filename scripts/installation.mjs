// One installation at a time, none that is not needed, and none under a process that runs from the tree. Plain JavaScript for
// any Node from 20 on, without a package: there are none yet.
import { createHash, randomUUID } from "node:crypto"
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs"
import { hostname } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"

const POLL_MS = 200
/** A process that is about to wait for the lock has registered for a moment: it is gone from the list by then. */
const RUNNING_GRACE_MS = 2_000
/** How long another installation is waited for. */
const WAIT_MS = 15 * 60_000
const HEARTBEAT_MS = 10_000
/** A process of another machine (a shared directory, a container) without a heartbeat for so long has ended. */
const SILENT_MS = 60_000

/**
 * Resolves when `root/node_modules` is what package-lock.json pins and this process is known, as `name`, to run from it; to a
 * function that names a process which does so as well. `install` does what is missing, and names the process that does.
 */
export async function ensureInstalled({ root, name, install, isStopped }) {
  const running = runningIn(root)
  const registered = register(running, name)
  if (isInstalled(root)) return registered.alsoBy
  registered.release()
  const lock = await acquire(join(root, ".install/lock"), isStopped)
  if (lock === null) return () => {}
  if (!isInstalled(root)) {
    if (existsSync(join(root, "node_modules"))) await refuseUnder(running, isStopped)
    if (isStopped()) return () => {}
    // Gone before anything else is: an installation that is broken off must not look like one that has ended.
    rmSync(stampOf(root), { force: true })
    const digest = digestOf(root)
    await install(lock.alsoBy)
    if (existsSync(join(root, "node_modules"))) writeFileSync(stampOf(root), digest)
  }
  const { alsoBy } = register(running, name)
  lock.release()
  return alsoBy
}

const runningIn = (root) => join(root, ".install/running")

/** Lets others see that this process runs from `root`, as `name`, until it ends; returns a function that names one more. */
export const registerRunning = (root, name) => register(runningIn(root), name).alsoBy

const stampOf = (root) => join(root, "node_modules/.installed-lockfile")
const digestOf = (root) =>
  createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex")

/** Whether node_modules is what package-lock.json pins, whoever installed it: npm leaves a list of what it installed. */
export function isInstalled(root) {
  const pinned = readJson(join(root, "package-lock.json"))?.packages
  if (pinned === undefined)
    throw new Error(`${join(root, "package-lock.json")} can't be read, or is not JSON`)
  // The package `node` is a program, which its install script brings.
  if ("node_modules/node" in pinned && !existsSync(join(root, "node_modules/node/bin/node"))) return false
  if (readText(stampOf(root)) === digestOf(root)) return true
  const installed = readJson(join(root, "node_modules/.package-lock.json"))?.packages
  if (installed === undefined) return false
  return (
    Object.entries(installed).every(
      ([path, { os, cpu }]) => path in pinned && allows(os, process.platform) && allows(cpu, process.arch),
    ) &&
    Object.entries(pinned).every(([path, { version, resolved, integrity, optional }]) => {
      if (path === "") return true
      const found = installed[path]
      if (found === undefined) return optional === true
      const same = found.version === version && found.resolved === resolved && found.integrity === integrity
      return same && existsSync(join(root, path))
    })
  )
}

/** Whether a package whose `os` or `cpu` is `list` is for `here`, as in `["darwin"]` or `["!win32"]`. */
function allows(list, here) {
  if (list === undefined) return true
  const refused = list.filter((item) => item.startsWith("!"))
  return refused.length > 0 ? !refused.includes(`!${here}`) : list.includes(here)
}

/** Lets others see that this process runs from the tree, until it ends or `release` is called. */
function register(directory, name) {
  const path = join(directory, randomUUID())
  try {
    mkdirSync(directory, { recursive: true })
    replace(path, { name, ...holders(process.pid) })
  } catch {
    // Who can't write here does not install here either, as in an image whose files are read-only.
    return { release: () => {}, alsoBy: () => {} }
  }
  return held(path, { name }, () => rmSync(path, { force: true }))
}

async function refuseUnder(directory, isStopped) {
  const until = performance.now() + RUNNING_GRACE_MS
  for (;;) {
    const others = namesIn(directory)
      .filter((file) => !file.endsWith(".new"))
      .flatMap((file) => {
        const record = readJson(join(directory, file))
        if (record === undefined) return []
        if (isAlive(record, join(directory, file)))
          return [`${record.name} (process ${record.processes[0].id})`]
        rmSync(join(directory, file), { force: true })
        return []
      })
    if (others.length === 0 || isStopped()) return
    if (performance.now() > until)
      throw new Error(
        `node_modules is not what package-lock.json pins, and processes run from it: ${others.join(", ")}. ` +
          "Installing now would take their packages away. Stop them, then start this again.",
      )
    await sleep(POLL_MS)
  }
}

/**
 * Takes the lock, or waits for it; `null` once `isStopped`. Each holder adds a file with the next number, which only one can
 * create; the highest number is the lock, and never deleted, so that nobody can mistake an old number for a new one. It is
 * free when its holder has released it or is dead.
 */
async function acquire(directory, isStopped) {
  const until = performance.now() + WAIT_MS
  const numbers = () =>
    namesIn(directory)
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
  const fileOf = (number) => join(directory, String(number))
  let told
  try {
    mkdirSync(directory, { recursive: true })
  } catch (error) {
    throw new Error(`packages are missing, and ${directory} can't be made to install them: ${error.message}`)
  }
  while (!isStopped()) {
    const last = Math.max(0, ...numbers())
    const holder = last === 0 ? { released: true } : readJson(fileOf(last))
    if (holder?.released || (holder && !isAlive(holder, fileOf(last)))) {
      if (create(fileOf(last + 1))) {
        if (Math.max(...numbers()) === last + 1) {
          for (const number of numbers()) if (number <= last) rmSync(fileOf(number), { force: true })
          return held(fileOf(last + 1), {}, () => replace(fileOf(last + 1), { released: true }))
        }
        rmSync(fileOf(last + 1), { force: true })
      }
      continue
    }
    const id = holder?.processes[0].id
    if (id !== told) console.error(`waiting for process ${id}, which installs packages here ...`)
    told = id
    if (performance.now() > until)
      throw new Error(
        `process ${id} has not ended its installation for ${WAIT_MS / 60_000} minutes (${fileOf(last)}): end it, then start this again`,
      )
    await sleep(POLL_MS)
  }
  return null
}

/** Creates `path` with all that is in it, or returns false if it is there already. */
function create(path) {
  const draft = join(dirname(path), `${randomUUID()}.new`)
  writeFileSync(draft, JSON.stringify(holders(process.pid)))
  try {
    linkSync(draft, path)
    return true
  } catch (error) {
    if (error.code !== "EEXIST") throw error
    return false
  } finally {
    rmSync(draft, { force: true })
  }
}

/** What stands in the file `path` as long as this process, or one that `alsoBy` names, lives; `end` takes it back. */
function held(path, fields, end) {
  const beating = keepFresh(path)
  let released = false
  function release() {
    if (released) return
    released = true
    clearInterval(beating)
    end()
  }
  process.on("exit", release)
  return {
    release,
    alsoBy(id) {
      if (existsSync(path)) replace(path, { ...fields, ...holders(process.pid, id) })
    },
  }
}

function replace(path, record) {
  writeFileSync(`${path}.new`, JSON.stringify(record))
  renameSync(`${path}.new`, path)
}

/** An interval of heartbeats on `path`, which does not keep the process alive. */
function keepFresh(path) {
  const beating = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date())
    } catch {
      // Gone, or the disk is full: whoever looks has the process ids, too.
    }
  }, HEARTBEAT_MS)
  return beating.unref()
}

/** Process ids mean something only where they were given. */
const MACHINE = [hostname(), linkOf("/proc/self/ns/pid")].join(" ")
const holders = (...ids) => ({
  machine: MACHINE,
  processes: ids.map((id) => ({ id, started: startOf(id) })),
})

function isAlive({ machine, processes }, path) {
  if (machine === MACHINE)
    return processes.some(({ id, started }) => exists(id) && (started ?? null) === startOf(id))
  try {
    return Date.now() - statSync(path).mtimeMs < SILENT_MS
  } catch {
    return false
  }
}

function exists(id) {
  try {
    return process.kill(id, 0)
  } catch (error) {
    return error.code === "EPERM"
  }
}

/** When process `id` was started, so that another one with the same id is told from it; `null` where that can't be known. */
function startOf(id) {
  const fields = readText(`/proc/${id}/stat`)
    ?.replace(/^.*\) /s, "")
    .split(" ")
  return fields?.[19] ?? null
}

function linkOf(path) {
  try {
    return readlinkSync(path)
  } catch {
    return ""
  }
}

function namesIn(directory) {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}

function readText(path) {
  try {
    return readFileSync(path, "utf8")
  } catch {
    return undefined
  }
}

function readJson(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8"))
  } catch {
    return undefined
  }
}
