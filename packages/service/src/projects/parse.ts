import { type Environment, readVariable } from "../settings/environment.ts"
import { fieldsOf, PROJECT_FIELDS, type ProjectFields, type ProjectsReader } from "./fields.ts"
import { type DraftProject, readProjectsFile } from "./file.ts"
import { type Project, type ProjectOf, schemaOf } from "./schema.ts"

/** The result of reading the projects. */
export interface ParsedProjects<P extends Project> {
  /** By id, in order: those without a problem. If there are problems, they may be shown, but no work may be done for them. */
  readonly projects: ReadonlyMap<string, P>
  readonly problems: readonly string[]
  /** The files that were read, or should have been. If one of them changes, so may the projects. */
  readonly files: readonly string[]
}

/** Reads and validates the projects once, as `readProjects` describes. */
export function parseProjects<R extends ProjectsReader>(
  reader: R,
  env: Environment,
  fields: ProjectFields = PROJECT_FIELDS,
): ParsedProjects<ProjectOf[R]> {
  const problems: string[] = []
  const files: string[] = []
  const path = env.UNSEAL_PROJECTS_FILE || undefined
  // All variables of a single project, whoever reads them.
  const variables = Object.values(fields).flatMap(({ variable }) => variable ?? [])
  const single = variables.filter((name) => env[name] || env[`${name}_FILE`])
  let drafts: readonly DraftProject[] = []
  if (path !== undefined && single.length > 0)
    problems.push(
      `UNSEAL_PROJECTS_FILE and ${single.join(", ")} are both set: keep the file or the variables`,
    )
  else if (path !== undefined) drafts = readProjectsFile(path, { reader, fields, problems, files })
  else if (env.UNSEAL_PROJECT_ID) drafts = [singleProject(reader, env, fields, problems, files)]
  else
    problems.push(
      "there is no project: set UNSEAL_PROJECTS_FILE, or UNSEAL_PROJECT_ID and the settings that go with it",
    )

  const allowUnauthenticated = ["1", "true"].includes(env.UNSEAL_ALLOW_UNAUTHENTICATED ?? "")
  const schema = schemaOf(reader, { fields, allowUnauthenticated })
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

/** Nobody reads a thousand lines. The first ones show what is wrong. */
const MAX_PROBLEMS = 20

const firstOf = (problems: readonly string[]): readonly string[] =>
  problems.length <= MAX_PROBLEMS
    ? problems
    : [...problems.slice(0, MAX_PROBLEMS), `and ${problems.length - MAX_PROBLEMS} more problems`]

/**
 * The single project of the variables. Each reader sees only its own: ingest never touches a key, the worker no callback secret.
 */
function singleProject(
  reader: ProjectsReader,
  env: Environment,
  all: ProjectFields,
  problems: string[],
  files: string[],
): DraftProject {
  const fields: Record<string, unknown> = {}
  const unreadable = new Set<string>()
  for (const [name, { variable, kind, secret = false }] of fieldsOf(reader, all)) {
    if (variable === undefined) continue
    const before = problems.length
    const file = secret ? env[`${variable}_FILE`] : undefined
    if (file) files.push(file)
    const value = readVariable(variable, secret, env, problems)
    if (problems.length > before) unreadable.add(name)
    if (value !== undefined)
      fields[name] = kind === "list" ? value.split(",").map((item) => item.trim()) : value
  }
  return { fields, unreadable, label: ([name]) => all[String(name)]?.variable ?? String(name) }
}
