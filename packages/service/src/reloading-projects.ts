import { stat } from "node:fs/promises"
import { isDeepStrictEqual } from "node:util"
import { ConfigurationError } from "./configuration-error.ts"
import type { Environment } from "./environment.ts"
import type { Logger } from "./logger.ts"
import { createCounter, createGauge, type Registry } from "./metrics.ts"
import type { Project } from "./project-schema.ts"
import type { ProjectOf, Projects, ProjectsReader } from "./projects.ts"
import { type ProjectsReading, tryProjects } from "./projects-reading.ts"

/** Projects that follow their files. */
export interface ReloadingProjects<P extends Project> extends Projects<P> {
  /**
   * Looks every `intervalMs` (5 s) whether a file has changed, the projects file or that of a secret, and reads all anew if
   * so. Projects that can't be used are not taken: those before stay, each problem is logged, and
   * `unseal_projects_file_invalid` is 1 until the files are mended. Call it once.
   */
  watch(options: WatchOptions): { close(): Promise<void> }
  /** Looks now rather than within the interval: another process may have seen a change first. */
  refresh(): Promise<void>
}

export interface WatchOptions {
  readonly logger: Logger
  readonly registry: Registry
  readonly intervalMs?: number
}

export interface ReloadingProjectsOptions<R extends ProjectsReader> {
  readonly for: R
  readonly env: Environment
  /** What is wrong with projects that are right by themselves, one line each. */
  readonly check?: (projects: readonly ProjectOf[R][]) => readonly string[]
}

/** The projects as `readProjects` reads them, to be watched. Throws `ConfigurationError` as that does. */
export function openProjects<R extends ProjectsReader>(
  options: ReloadingProjectsOptions<R>,
): ReloadingProjects<ProjectOf[R]> {
  type P = ProjectOf[R]
  function read(): ProjectsReading<P> {
    const reading = tryProjects(options.for, options.env)
    if (reading.problems.length > 0) return reading
    return { ...reading, problems: options.check?.([...reading.projects.values()]) ?? [] }
  }

  const first = read()
  if (first.problems.length > 0) throw new ConfigurationError(first.problems)
  let { projects, files } = first
  let ids: readonly string[] = [...projects.keys()]
  let problems: readonly string[] = []

  /** Reads all anew. `null` if nothing has changed but a file's date. */
  function reload(): "taken" | "invalid" | null {
    const next = read()
    files = next.files
    const sameProblems = isDeepStrictEqual(next.problems, problems)
    problems = next.problems
    if (problems.length > 0) return sameProblems ? null : "invalid"
    if (sameProblems && isDeepStrictEqual(next.projects, projects)) return null
    projects = next.projects
    ids = [...projects.keys()]
    return "taken"
  }

  let refresh = async (): Promise<void> => void reload()

  return {
    refresh: () => refresh(),
    get: (id) => projects.get(id),
    get ids() {
      return ids
    },
    watch({ logger, registry, intervalMs = 5_000 }) {
      const invalid = createGauge(registry, {
        name: "unseal_projects_file_invalid",
        help: "1 while the files of the projects can't be used as they are, and the projects of before are in effect",
        labels: {},
      })
      const reloads = createCounter(registry, {
        name: "unseal_projects_reloads_total",
        help: "Changes of the projects' files: taken, or invalid, so that the projects stayed as they were",
        labels: { outcome: ["taken", "invalid"] },
      })

      // The first look reads them as well: they may have changed since they were opened.
      let seen = ""
      async function look(): Promise<void> {
        const signature = (await Promise.all(files.map(signatureOf))).join()
        if (signature === seen) return
        // As it was before the reading, so that what changes meanwhile is found by the next look.
        seen = signature
        const before = projects
        const outcome = reload()
        invalid.set({}, problems.length > 0 ? 1 : 0)
        if (outcome === null) return
        reloads.increase({ outcome })
        if (outcome === "taken") logger.info(difference(before, projects), "projects were read again")
        for (const problem of problems) logger.error({ problem }, "projects stay as they were")
      }

      let looking = Promise.resolve()
      refresh = () => {
        looking = looking
          .then(look)
          .catch((err: unknown) => logger.error({ err }, "projects were not read again"))
        return looking
      }
      const timer = setInterval(refresh, intervalMs)
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

/** The ids, for the log. */
function difference(before: ReadonlyMap<string, Project>, after: ReadonlyMap<string, Project>) {
  const ids = [...after.keys()]
  return {
    added: ids.filter((id) => !before.has(id)),
    removed: [...before.keys()].filter((id) => !after.has(id)),
    changed: ids.filter((id) => before.has(id) && !isDeepStrictEqual(before.get(id), after.get(id))),
  }
}

/** Changes whenever the file does, also by a symbolic link on its way, as Kubernetes swaps them. */
async function signatureOf(path: string): Promise<string> {
  try {
    const { dev, ino, size, mtimeMs } = await stat(path)
    return `${dev}-${ino}-${size}-${mtimeMs}`
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code)
  }
}
