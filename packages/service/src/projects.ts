import type { z } from "zod"
import { ConfigurationError } from "./configuration-error.ts"
import { type Environment, readVariable } from "./environment.ts"
import {
  type DraftProject,
  type IngestProject,
  ingestProject,
  type Project,
  type WorkerProject,
  workerProject,
} from "./project-schema.ts"
import { readProjectsFile } from "./projects-file.ts"
import type { SettingName } from "./setting-table.ts"

export type { CallbackAuth, IngestProject, Project, WorkerProject } from "./project-schema.ts"

/** The configured projects. Ask anew for every callback and job: the answer may change while the process runs. */
export interface Projects<P extends Project> {
  get(id: string): P | undefined
  /** In the order in which they are configured. */
  readonly ids: readonly string[]
}

/** The fields of a single project that each process reads, and no other: ingest never touches a key, the worker no secret. */
const VARIABLES = {
  ingest: {
    id: "UNSEAL_PROJECT_ID",
    callbackAuth: "UNSEAL_CALLBACK_AUTH",
    signatureSecrets: "UNSEAL_SIGNATURE_SECRET",
    callbackToken: "UNSEAL_CALLBACK_TOKEN",
  },
  worker: {
    id: "UNSEAL_PROJECT_ID",
    source: "UNSEAL_SOURCE",
    destination: "UNSEAL_DESTINATION",
    sourceKeys: "UNSEAL_SOURCE_KEYS",
    destinationKey: "UNSEAL_DESTINATION_KEY",
    keysDir: "UNSEAL_KEYS_DIR",
  },
} as const satisfies Record<string, Record<string, SettingName>>

const SINGLE_PROJECT = [...new Set(Object.values(VARIABLES).flatMap((fields) => Object.values(fields)))]

/**
 * Reads the projects from `UNSEAL_PROJECTS_FILE`, or the single one of `UNSEAL_PROJECT_ID` and the variables beside it. Only
 * what the process needs is read: secrets of callbacks for `ingest`, stores and keys for `worker`. `env` may hold the rest
 * as well, as may the file. Throws `ConfigurationError` with every problem and where it is.
 */
export function readProjects(options: { for: "ingest"; env: Environment }): Projects<IngestProject>
export function readProjects(options: { for: "worker"; env: Environment }): Projects<WorkerProject>
export function readProjects(options: { for: "ingest" | "worker"; env: Environment }): Projects<Project> {
  const { env } = options
  const problems: string[] = []
  const path = env.UNSEAL_PROJECTS_FILE || undefined
  const single = SINGLE_PROJECT.filter((name) => env[name] || env[`${name}_FILE`])
  let drafts: readonly DraftProject[] = []
  if (path !== undefined && single.length > 0)
    problems.push(
      `UNSEAL_PROJECTS_FILE and ${single.join(", ")} are both set: keep the file or the variables`,
    )
  else if (path !== undefined) drafts = readProjectsFile(path, options.for, problems)
  else if (env.UNSEAL_PROJECT_ID) drafts = [singleProject(options.for, env, problems)]
  else
    problems.push(
      "there is no project: set UNSEAL_PROJECTS_FILE, or UNSEAL_PROJECT_ID and what belongs to it",
    )

  const schema: z.ZodType<Project> =
    options.for === "ingest"
      ? ingestProject(["1", "true"].includes(env.UNSEAL_ALLOW_UNAUTHENTICATED ?? ""))
      : workerProject()
  const projects = new Map<string, Project>()
  for (const draft of drafts) {
    const result = schema.safeParse(draft.fields)
    for (const issue of result.error?.issues ?? [])
      if (!draft.unreadable.has(String(issue.path[0])))
        problems.push(`${draft.label(issue.path)} ${issue.message}`)
    if (!result.success) continue
    if (projects.has(result.data.id))
      problems.push(`${draft.label(["id"])} is ${result.data.id}, as that of a project before it`)
    projects.set(result.data.id, result.data)
  }
  if (problems.length > 0) throw new ConfigurationError(problems)
  return { get: (id) => projects.get(id), ids: [...projects.keys()] }
}

function singleProject(process: keyof typeof VARIABLES, env: Environment, problems: string[]): DraftProject {
  const names: Readonly<Record<string, SettingName>> = VARIABLES[process]
  const fields: Record<string, unknown> = {}
  const unreadable = new Set<string>()
  for (const [field, name] of Object.entries(names)) {
    const before = problems.length
    const value = readVariable(name, env, problems)
    if (problems.length > before) unreadable.add(field)
    if (value !== undefined)
      fields[field] = ["signatureSecrets", "sourceKeys"].includes(field)
        ? value.split(",").map((item) => item.trim())
        : value
  }
  return { fields, unreadable, label: ([field]) => names[String(field)] ?? String(field) }
}
