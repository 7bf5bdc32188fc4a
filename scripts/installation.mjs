// Allows one installation at a time, none without need, and none under a process that runs from the tree. Plain JavaScript for
// any Node from 20 on, without packages, because none are installed yet.
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
/** A process registers for a moment before it waits for the lock. By then it has left the list. */
const RUNNING_GRACE_MS = 2_000
/** How long to wait for another installation. */
const WAIT_MS = 15 * 60_000
const HEARTBEAT_MS = 10_000
/** A process of another machine (a shared directory, a container) has ended if it sends no heartbeat for this long. */
const SILENT_MS = 60_000

/**
 * Makes `root/node_modules` what package-lock.json pins, and registers this process as `name`. Resolves to a function that
 * registers one more process. `install` installs what is missing, and reports the process that does it.
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
    // Removed first: an interrupted installation must not look like a finished one.
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

/** Registers this process as `name`, running from `root`, until it ends. Returns a function that registers one more process. */
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

/** Whether a package whose `os` or `cpu` is `list`, such as `["darwin"]` or `["!win32"]`, supports `here`. */
function allows(list, here) {
  if (list === undefined) return true
  const refused = list.filter((item) => item.startsWith("!"))
  return refused.length > 0 ? !refused.includes(`!${here}`) : list.includes(here)
}

/** Registers this process as running from the tree, until it ends or `release` is called. */
function register(directory, name) {
  const path = join(directory, randomUUID())
  try {
    mkdirSync(directory, { recursive: true })
    replace(path, { name, ...holders(process.pid) })
  } catch {
    // Without write access nobody can install here either, as in an image with read-only files.
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
 * Takes the lock, or waits for it; `null` once `isStopped`. Each holder creates a file with the next number, which only one
 * process can do. The file with the highest number is the lock. It is never deleted, so that no old number passes for a new
 * one. The lock is free when its holder has released it or is dead.
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

/** Creates `path` with its whole content. Returns `false` if it already exists. */
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

/** A lock file's content, valid while this process, or one that `alsoBy` names, is alive. `end` revokes it. */
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

/** Sends heartbeats to `path` at an interval, without keeping the process alive. */
function keepFresh(path) {
  const beating = setInterval(() => {
    try {
      utimesSync(path, new Date(), new Date())
    } catch {
      // The file is gone, or the disk is full. Others can still check the process ids.
    }
  }, HEARTBEAT_MS)
  return beating.unref()
}

/** Process ids are valid only on the machine, and in the namespace, that assigned them. */
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

/** When process `id` was started, which distinguishes it from an earlier one with that id. `null` if unknown. */
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
