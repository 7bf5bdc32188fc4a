import { statSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { CORE_SCHEMA, loadAll, YAMLException } from "js-yaml"
import { readSecretFile } from "../settings/environment.ts"
import { readTextFile } from "../text-file.ts"
import { fieldsOf, namesInFile, type ProjectFields, type ProjectsReader } from "./fields.ts"

/** A project as written, not yet validated, and the names of its fields there. */
export interface DraftProject {
  readonly fields: Readonly<Record<string, unknown>>
  /**
   * Fields whose secret could not be read, or that have an earlier name. They already are a problem, and must not be reported as
   * missing.
   */
  readonly unreadable: ReadonlySet<string>
  label(path: readonly PropertyKey[]): string
}

interface Reading {
  readonly reader: ProjectsReader
  readonly fields: ProjectFields
  /** Receives every problem and every file that was looked at. */
  readonly problems: string[]
  readonly files: string[]
}

/** Not a path: it has a scheme. */
const URL_LIKE = /^[a-z][a-z0-9+.-]*:/i

/** Room for 5,000 projects with long store URLs, but small enough to be read while callbacks wait. */
const MAX_BYTES = 4 * 2 ** 20
const MAX_PROJECTS = 20_000

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/**
 * The projects of the file `path` (`{ projects: [ … ] }` in JSON or YAML), reduced to the fields of `reader`. Reads secrets from
 * the files that are named. Relative paths start at the file's own directory. No problem quotes the file's content.
 */
export function readProjectsFile(path: string, reading: Reading): DraftProject[] {
  const { problems, files } = reading
  files.push(path)
  const content = parse(path, problems)
  if (content === undefined) return []
  const list = isRecord(content) ? content.projects : undefined
  if (Array.isArray(list) && list.length > MAX_PROJECTS) {
    problems.push(`${path} holds ${list.length} projects: at most ${MAX_PROJECTS} are read`)
    return []
  }
  if (!Array.isArray(list) || list.length === 0) {
    problems.push(`${path} must hold a list named projects with at least one project`)
    return []
  }
  for (const name of Object.keys(content as object))
    if (name !== "projects")
      problems.push(`${path}: ${name} is not known: projects is the only field at the top`)
  const own = fieldsOf(reading.reader, reading.fields)
  const ofNames = new Map<string, string | null>()
  return list.flatMap((item: unknown, index) => {
    const where = `${path}: projects[${index}]`
    if (isRecord(item)) {
      for (const name of Object.keys(item)) {
        if (!ofNames.has(name)) ofNames.set(name, nameProblem(name, reading.fields))
        const problem = ofNames.get(name)
        if (problem) problems.push(`${where}.${name} ${problem}`)
      }
      return [draftOf(item, where, dirname(path), own, reading)]
    }
    problems.push(`${where} must be a mapping of fields`)
    return []
  })
}

function parse(path: string, problems: string[]): unknown {
  let text: string
  try {
    const { size } = statSync(path)
    if (size > MAX_BYTES) {
      problems.push(`${path} has ${size} bytes: at most ${MAX_BYTES} are read`)
      return undefined
    }
    text = readTextFile(path, MAX_BYTES)
  } catch (error) {
    problems.push(`UNSEAL_PROJECTS_FILE: ${path} can't be read (${(error as NodeJS.ErrnoException).code})`)
    return undefined
  }
  if (lastParsed?.text === text) return lastParsed.content
  const content = parseJson(text) ?? parseYaml(text, path, problems)
  // At its start a worker reads the file twice, for its own fields and for those of the vendor's API.
  if (content !== undefined) lastParsed = { text, content }
  setImmediate(() => {
    lastParsed = undefined
  })
  return content
}

/** The file read in this turn of the event loop. With thousands of projects, parsing YAML takes most of the time. */
let lastParsed: { readonly text: string; readonly content: unknown } | undefined

function parseYaml(text: string, path: string, problems: string[]): unknown {
  let documents: readonly unknown[]
  try {
    documents = loadAll(text, { schema: CORE_SCHEMA })
  } catch (error) {
    // The parser's own message would quote the line, which may contain a misplaced secret.
    const line = error instanceof YAMLException ? (error.mark?.line ?? 0) : 0
    problems.push(`${path}: line ${line + 1} is neither JSON nor YAML`)
    return undefined
  }
  if (documents.length <= 1) return documents[0] ?? null
  problems.push(`${path} holds ${documents.length} YAML documents: keep one, without lines of ---`)
  return undefined
}

/** JSON is YAML too, and is parsed several times as fast by a JSON parser. `undefined` if it is not JSON. */
function parseJson(text: string): unknown {
  if (!/^\s*\{/.test(text.slice(0, 1_000))) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function draftOf(
  item: Record<string, unknown>,
  where: string,
  directory: string,
  own: ReturnType<typeof fieldsOf>,
  { fields: all, problems, files }: Reading,
): DraftProject {
  const fields: Record<string, unknown> = {}
  const unreadable = new Set<string>()
  const secretOf = (file: unknown, label: string): string | undefined => {
    const path = typeof file === "string" && file !== "" ? resolve(directory, file) : undefined
    if (path === undefined) return void problems.push(`${label} must be the path of a file`)
    files.push(path)
    return readSecretFile(path, label, problems)
  }
  for (const [name, field] of own) {
    if (field.formerly && item[field.formerly.field] !== undefined) unreadable.add(name)
    if (!field.secret) {
      const value = item[name] ?? undefined
      const isPath = field.kind === "location" && typeof value === "string" && !URL_LIKE.test(value)
      if (value !== undefined) fields[name] = isPath ? resolve(directory, value) : value
      continue
    }
    const given = secretFiles(item, namesInFile(name, field), where, problems)
    const secrets = given.flatMap(([file, label]) => secretOf(file, label) ?? [])
    if (secrets.length < given.length) unreadable.add(name)
    if (given.length > 0) fields[name] = field.kind === "list" ? secrets : secrets[0]
  }
  const asWritten = (segment: PropertyKey): string => {
    if (typeof segment === "number") return `[${segment}]`
    const [name, field] = [String(segment), all[String(segment)]]
    return `.${field ? namesInFile(name, field)[0] : name}`
  }
  return { fields, unreadable, label: (path) => `${where}${path.map(asWritten).join("")}` }
}

/** The files of one secret, or of each in a list, with the field that names each. */
function secretFiles(
  item: Record<string, unknown>,
  [one, many]: readonly string[],
  where: string,
  problems: string[],
): [file: unknown, label: string][] {
  const single = item[one!] ?? undefined
  const list = (many && item[many]) ?? undefined
  if (list !== undefined && !Array.isArray(list)) problems.push(`${where}.${many} must be a list of paths`)
  return [
    ...(Array.isArray(list) ? list : []).map((file: unknown, index): [unknown, string] => [
      file,
      `${where}.${many}[${index}]`,
    ]),
    ...(single === undefined ? [] : [[single, `${where}.${one}`] satisfies [unknown, string]]),
  ]
}

/** What is wrong with a field's name, as a clause, or `null`. */
function nameProblem(name: string, fields: ProjectFields): string | null {
  const known: string[] = []
  for (const [now, field] of Object.entries(fields)) {
    const names = namesInFile(now, field)
    if (names.includes(name)) return null
    if (field.formerly?.field === name) return `is called ${now} now: rename it`
    // The secret itself was written where the name of its file belongs.
    if (field.secret && [now, names[0]!.replace(/File$/, "")].includes(name))
      return `holds a secret: give the file that holds it, ${names[0]}`
    known.push(...names)
  }
  return `is not a field of a project: there are ${known.join(", ")}`
}
