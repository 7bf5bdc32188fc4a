import type { z } from "zod"
import { type Environment, readVariable } from "./environment.ts"
import type { Project, ProjectOf, ProjectsReader } from "./project.ts"
import {
  type DraftProject,
  destinationProject,
  ingestProject,
  storesProject,
  vendorProject,
  workerProject,
} from "./project-schema.ts"
import { readProjectsFile } from "./projects-file.ts"
import { type SettingName, settingRow } from "./setting-table.ts"

/** The fields of a single project that each reader asks for, and no other: ingest never touches a key, the worker no secret. */
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
    keys: "UNSEAL_KEYS",
  },
  vendor: {
    id: "UNSEAL_PROJECT_ID",
    platform: "UNSEAL_PLATFORM",
    apiAuth: "UNSEAL_API_AUTH",
    apiSecret: "UNSEAL_API_SECRET",
    applicationKey: "UNSEAL_APPLICATION_KEY",
    apiUrl: "UNSEAL_API_URL",
  },
  destination: {
    id: "UNSEAL_PROJECT_ID",
    destination: "UNSEAL_DESTINATION",
    destinationKey: "UNSEAL_DESTINATION_KEY",
  },
  stores: {
    id: "UNSEAL_PROJECT_ID",
    source: "UNSEAL_SOURCE",
    destination: "UNSEAL_DESTINATION",
    sourceKeys: "UNSEAL_SOURCE_KEYS",
    destinationKey: "UNSEAL_DESTINATION_KEY",
  },
} as const satisfies Record<ProjectsReader, Record<string, SettingName>>

/** What a single project is written with, so that it is told when there is a file as well. */
const SINGLE_PROJECT = [...new Set(Object.values(VARIABLES).flatMap((fields) => Object.values(fields)))]
const LISTS = ["signatureSecrets", "sourceKeys"]

/** What came of reading the projects. */
export interface ProjectsReading<P extends Project> {
  /** By id, in order. Not to be used if there are problems. */
  readonly projects: ReadonlyMap<string, P>
  readonly problems: readonly string[]
  /** The files that were read, or should have been: once one of them changes, so may the projects. */
  readonly files: readonly string[]
}

/** Reads and judges the projects once, as `readProjects` says. */
export function tryProjects<R extends ProjectsReader>(
  reader: R,
  env: Environment,
): ProjectsReading<ProjectOf[R]> {
  const problems: string[] = []
  const files: string[] = []
  const path = env.UNSEAL_PROJECTS_FILE || undefined
  const single = SINGLE_PROJECT.filter((name) => env[name] || env[`${name}_FILE`])
  let drafts: readonly DraftProject[] = []
  if (path !== undefined && single.length > 0)
    problems.push(
      `UNSEAL_PROJECTS_FILE and ${single.join(", ")} are both set: keep the file or the variables`,
    )
  else if (path !== undefined) drafts = readProjectsFile(path, reader, problems, files)
  else if (env.UNSEAL_PROJECT_ID) drafts = [singleProject(reader, env, problems, files)]
  else
    problems.push(
      "there is no project: set UNSEAL_PROJECTS_FILE, or UNSEAL_PROJECT_ID and the settings that go with it",
    )

  const schema = schemaOf(reader, env)
  const projects = new Map<string, ProjectOf[R]>()
  for (const draft of drafts) {
    const result = schema.safeParse(draft.fields)
    for (const issue of result.error?.issues ?? [])
      if (!draft.unreadable.has(String(issue.path[0])))
        problems.push(`${draft.label(issue.path)} ${issue.message}`)
    if (!result.success) continue
    if (projects.has(result.data.id))
      problems.push(`${draft.label(["id"])} is ${result.data.id}, which an earlier project has already`)
    projects.set(result.data.id, result.data)
  }
  return { projects, problems: firstOf(problems), files }
}

/** Nobody reads a thousand lines: the first show what is wrong. */
const MAX_PROBLEMS = 20

const firstOf = (problems: readonly string[]): readonly string[] =>
  problems.length <= MAX_PROBLEMS
    ? problems
    : [...problems.slice(0, MAX_PROBLEMS), `and ${problems.length - MAX_PROBLEMS} more problems`]

function schemaOf<R extends ProjectsReader>(reader: R, env: Environment): z.ZodType<ProjectOf[R]> {
  const schemas: { readonly [Reader in ProjectsReader]: () => z.ZodType<ProjectOf[Reader]> } = {
    ingest: () => ingestProject(["1", "true"].includes(env.UNSEAL_ALLOW_UNAUTHENTICATED ?? "")),
    worker: workerProject,
    vendor: vendorProject,
    destination: destinationProject,
    stores: storesProject,
  }
  return schemas[reader]()
}

function singleProject(
  reader: ProjectsReader,
  env: Environment,
  problems: string[],
  files: string[],
): DraftProject {
  const names: Readonly<Record<string, SettingName>> = VARIABLES[reader]
  const fields: Record<string, unknown> = {}
  const unreadable = new Set<string>()
  for (const [field, name] of Object.entries(names)) {
    const before = problems.length
    const file = settingRow(name).secret ? env[`${name}_FILE`] : undefined
    if (file) files.push(file)
    const value = readVariable(name, env, problems)
    if (problems.length > before) unreadable.add(field)
    if (value !== undefined)
      fields[field] = LISTS.includes(field) ? value.split(",").map((item) => item.trim()) : value
  }
  return { fields, unreadable, label: ([field]) => names[String(field)] ?? String(field) }
}
