import { realpath, stat } from "node:fs/promises"
import { setTimeout as sleep } from "node:timers/promises"
import { isDeepStrictEqual } from "node:util"
import type { Logger } from "../log/logger.ts"
import { createCounter, createGauge, type Registry } from "../metrics.ts"
import { ConfigurationError } from "../settings/configuration-error.ts"
import type { Environment } from "../settings/environment.ts"
import type { ProjectsReader } from "./fields.ts"
import { type ParsedProjects, parseProjects } from "./parse.ts"
import type { Projects } from "./projects.ts"
import type { Project, ProjectOf } from "./schema.ts"

/** Projects that follow their files. */
export interface ReloadingProjects<P extends Project> extends Projects<P> {
  /**
   * Checks every `intervalMs` (5 s) whether the projects file or a secret's file has changed. Applies a change once two looks at
   * least `settleMs` (3 s) apart agree, or at once if only symbolic links were swapped. Unusable projects are not applied: the
   * previous ones stay, each problem is logged, and `unseal_projects_file_invalid` is 1 until the files are fixed. Call it once.
   */
  watch(options: WatchOptions): { close(): Promise<void> }
  /** Looks now instead of within the interval, and waits until a change has settled. Another process may have seen it first. */
  refresh(): Promise<void>
  /**
   * Whether the project was configured until a few minutes ago. A file that was cut short while it was written is soon complete
   * again.
   */
  wasRemoved(id: string): boolean
}

/** How long a project's removal may turn out to be a mistake. */
const REMOVED_MS = 5 * 60_000

export interface WatchOptions {
  readonly logger: Logger
  readonly registry: Registry
  readonly intervalMs?: number
  readonly settleMs?: number
}

export interface ReloadingProjectsOptions<R extends ProjectsReader> {
  readonly for: R
  readonly env: Environment
  /** What is wrong with the projects together although each is valid, one line per problem. */
  readonly check?: (projects: readonly ProjectOf[R][]) => readonly string[]
}

/** Reads the projects like `readProjects`, and can watch them. Throws `ConfigurationError` as that does. */
export function openProjects<R extends ProjectsReader>(
  options: ReloadingProjectsOptions<R>,
): ReloadingProjects<ProjectOf[R]> {
  type P = ProjectOf[R]
  function read(): ParsedProjects<P> {
    const reading = parseProjects(options.for, options.env)
    if (reading.problems.length > 0) return reading
    return { ...reading, problems: options.check?.([...reading.projects.values()]) ?? [] }
  }

  const first = read()
  if (first.problems.length > 0) throw new ConfigurationError(first.problems)
  let { projects, files } = first
  let ids: readonly string[] = [...projects.keys()]
  let problems: readonly string[] = []
  const removed = new Map<string, number>()

  /** Applies what was read. Returns `null` if only a file's date has changed. */
  function take(next: ParsedProjects<P>): "taken" | "invalid" | null {
    const sameProblems = isDeepStrictEqual(next.problems, problems)
    problems = next.problems
    if (problems.length > 0) return sameProblems ? null : "invalid"
    if (sameProblems && isDeepStrictEqual(next.projects, projects)) return null
    const now = performance.now()
    for (const [id, since] of removed) if (now - since > REMOVED_MS) removed.delete(id)
    for (const id of ids) if (!next.projects.has(id)) removed.set(id, now)
    projects = next.projects
    ids = [...projects.keys()]
    return "taken"
  }

  let refresh = async (): Promise<void> => void take(read())

  return {
    refresh: () => refresh(),
    get: (id) => projects.get(id),
    get ids() {
      return ids
    },
    wasRemoved(id) {
      const since = removed.get(id)
      return since !== undefined && !projects.has(id) && performance.now() - since <= REMOVED_MS
    },
    watch({ logger, registry, intervalMs = 5_000, settleMs = 3_000 }) {
      const { invalid, reloads } = createReloadMetrics(registry, {
        get ids() {
          return ids
        },
      })

      /** The state of the files when their content was applied. */
      let seen: FileStates | undefined
      /** A change that is not applied yet, because somebody may still be writing. */
      let pending: { readonly states: FileStates; readonly since: number } | null = null

      async function look(): Promise<void> {
        const states = await statesOf(files)
        if (seen !== undefined && isDeepStrictEqual(states, seen)) {
          pending = null
          return
        }
        const now = performance.now()
        if (pending === null || !isDeepStrictEqual(states, pending.states)) pending = { states, since: now }
        const isSwap = seen !== undefined && onlySwapped(seen, states)
        if (!isSwap && now - pending.since < settleMs) return

        const next = read()
        files = next.files
        const after = await statesOf(files)
        // It was written while it was read, so it must settle again. So must a file that it newly names.
        const settled = files.every((path) => after[path] === states[path] || (isSwap && !(path in states)))
        if (!settled) {
          pending = { states: after, since: performance.now() }
          return
        }
        seen = after
        pending = null

        const before = projects
        const outcome = take(next)
        invalid.set({}, problems.length > 0 ? 1 : 0)
        if (outcome === null) return
        reloads.increase({ outcome })
        if (outcome === "taken") logger.info(difference(before, projects), "projects reloaded")
        for (const problem of problems)
          logger.error({ problem }, "projects file can't be used: the projects stay as they were")
      }

      let looking = Promise.resolve()
      let pendingLooks = 0
      const lookOnce = (): Promise<void> => {
        pendingLooks++
        looking = looking
          .then(look)
          .catch((err: unknown) =>
            logger.error({ err }, "projects could not be read again: they stay as they were"),
          )
          .finally(() => pendingLooks--)
        return looking
      }
      refresh = async () => {
        await lookOnce()
        // A new file that it names settles after the file itself.
        for (let rounds = 0; pending !== null && rounds < 2; rounds++) {
          await sleep(settleMs, undefined, { ref: false })
          await lookOnce()
        }
      }
      // On a slow file system a look may take longer than the interval. Then no others queue up behind it.
      const timer = setInterval(() => pendingLooks === 0 && void lookOnce(), intervalMs)
      timer.unref()
      return {
        async close() {
          clearInterval(timer)
          await looking
        },
      }
    },
  }
}

/** The metrics of `watch`. */
export function createReloadMetrics(registry: Registry, projects: { readonly ids: readonly string[] }) {
  createGauge(registry, {
    name: "unseal_projects",
    help: "Configured projects",
    labels: {},
    overReplicas: "max",
    collect: (set) => set({}, projects.ids.length),
  })
  const invalid = createGauge(registry, {
    name: "unseal_projects_file_invalid",
    help: "1 while the projects file, or a file that it names, can't be used; the earlier projects then stay in effect",
    labels: {},
    overReplicas: "max",
  })
  const reloads = createCounter(registry, {
    name: "unseal_projects_reloads_total",
    help: "Changes to the projects file and the files that it names, taken or ignored as invalid",
    labels: { outcome: ["taken", "invalid"] },
  })
  return { invalid, reloads }
}

/** The ids, for the log. */
function difference(before: ReadonlyMap<string, Project>, after: ReadonlyMap<string, Project>) {
  const ids = [...after.keys()]
  return {
    added: ids.filter((id) => !before.has(id)),
    removed: [...before.keys()].filter((id) => !after.has(id)),
    changed: ids.filter((id) => before.has(id) && !isDeepStrictEqual(before.get(id), after.get(id))),
  }
}

/** The state of each file: where its path leads, and what is there. */
type FileStates = Readonly<Record<string, string>>

/** How many files are looked at together. Thousands of answers in one turn of the event loop would delay callbacks. */
const LOOKS_AT_ONCE = 16

async function statesOf(paths: readonly string[]): Promise<FileStates> {
  const states: [path: string, state: string][] = []
  let next = 0
  const work = async () => {
    for (let path = paths[next++]; path !== undefined; path = paths[next++])
      states.push([path, await stateOf(path)])
  }
  await Promise.all(Array.from({ length: LOOKS_AT_ONCE }, work))
  return Object.fromEntries(states)
}

/** Changes whenever the file does, even through a symbolic link in its path. */
async function stateOf(path: string): Promise<string> {
  try {
    const real = await realpath(path)
    const { dev, ino, size, mtimeMs } = await stat(real)
    return `${dev}-${ino}-${size}-${mtimeMs} ${real}`
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}

/**
 * Whether every change is a path that leads to another file than before, by a symbolic link. A mounted volume is swapped in this
 * way, all at once, when it is complete. Any other change may be half-written.
 */
function onlySwapped(before: FileStates, after: FileStates): boolean {
  const target = (state: string | undefined) => state?.split(" ").slice(1).join(" ") ?? ""
  return Object.entries(after).every(
    ([path, state]) =>
      state === before[path] ||
      (target(state) !== "" && target(before[path]) !== "" && target(state) !== target(before[path])),
  )
}
