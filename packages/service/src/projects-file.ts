import { statSync } from "node:fs"
import { dirname, resolve } from "node:path"
import { CORE_SCHEMA, loadAll, YAMLException } from "js-yaml"
import { readSecretFile } from "./environment.ts"
import type { ProjectsReader } from "./project.ts"
import type { DraftProject } from "./project-schema.ts"
import { readSmallFile } from "./small-file.ts"

/** Every field that a project may have in the file. One file serves all readers; each reads its own fields. */
const FIELDS = {
  all: ["id", "platform"],
  ingest: ["callbackAuth", "signatureSecretFile", "signatureSecretFiles", "callbackTokenFile"],
  worker: ["source", "destination", "sourceKeys", "destinationKey", "keys", "limits"],
  vendor: ["apiAuth", "apiSecretFile", "applicationKeyFile", "apiUrl"],
  destination: ["destination", "destinationKey"],
  stores: ["source", "destination", "sourceKeys", "destinationKey"],
} as const

/** The fields that name the file of a secret. */
const SECRET_FIELDS = {
  signatureSecrets: "signatureSecretFile",
  callbackToken: "callbackTokenFile",
  apiSecret: "apiSecretFile",
  applicationKey: "applicationKeyFile",
} as const

/** What fields were called before. */
const RENAMED: Readonly<Record<string, string>> = { keysDir: "keys" }

/** A path that is none: its scheme says what it is. */
const URL_LIKE = /^[a-z][a-z0-9+.-]*:/i

/** Room for 5,000 projects with long store URLs, and little enough to be read while callbacks wait. */
const MAX_BYTES = 4 * 2 ** 20
const MAX_PROJECTS = 20_000

const KNOWN: readonly string[] = [...new Set(Object.values(FIELDS).flat())]

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/**
 * The projects of the file `path` (`{ projects: [ … ] }` in JSON or YAML), reduced to the fields of `reader`, with secrets
 * read from the files that hold them. Relative paths start at the file's own directory. No problem quotes the file's content.
 * Every file that was looked at is added to `files`.
 */
export function readProjectsFile(
  path: string,
  reader: ProjectsReader,
  problems: string[],
  files: string[],
): DraftProject[] {
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
  return list.flatMap((item: unknown, index) => {
    const where = `${path}: projects[${index}]`
    if (isRecord(item)) return [draft(item, where, dirname(path), reader, problems, files)]
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
    text = readSmallFile(path, MAX_BYTES)
  } catch (error) {
    problems.push(`UNSEAL_PROJECTS_FILE: ${path} can't be read (${(error as NodeJS.ErrnoException).code})`)
    return undefined
  }
  if (lastParsed?.text === text) return lastParsed.content
  const content = parseJson(text) ?? parseYaml(text, path, problems)
  // A worker reads the file twice at its start, for its own fields and for those of the vendor's API.
  if (content !== undefined) lastParsed = { text, content }
  setImmediate(() => {
    lastParsed = undefined
  })
  return content
}

/** What was read in this turn of the event loop: parsing YAML is what costs most of reading thousands of projects. */
let lastParsed: { readonly text: string; readonly content: unknown } | undefined

function parseYaml(text: string, path: string, problems: string[]): unknown {
  let documents: readonly unknown[]
  try {
    documents = loadAll(text, { schema: CORE_SCHEMA })
  } catch (error) {
    // The parser's own message would quote the line, which may hold what should have been in a file of its own.
    const line = error instanceof YAMLException ? (error.mark?.line ?? 0) : 0
    problems.push(`${path}: line ${line + 1} is neither JSON nor YAML`)
    return undefined
  }
  if (documents.length <= 1) return documents[0] ?? null
  problems.push(`${path} holds ${documents.length} YAML documents: keep one, without lines of ---`)
  return undefined
}

/** JSON is YAML too, and several times as fast to read as such. `undefined` if it is none. */
function parseJson(text: string): unknown {
  if (!/^\s*\{/.test(text.slice(0, 1_000))) return undefined
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function draft(
  item: Record<string, unknown>,
  where: string,
  directory: string,
  reader: ProjectsReader,
  problems: string[],
  files: string[],
): DraftProject {
  const unreadable = new Set<string>()
  for (const name of Object.keys(item)) {
    const now = RENAMED[name]
    if (now !== undefined) {
      problems.push(`${where}.${name} is called ${now} now: rename it`)
      unreadable.add(now)
    } else if (!KNOWN.includes(name))
      problems.push(
        ["signatureSecret", ...Object.keys(SECRET_FIELDS)].includes(name)
          ? `${where}.${name} holds a secret: give the file that holds it, ${name.replace(/s$/, "")}File`
          : `${where}.${name} is not a field of a project: there are ${KNOWN.join(", ")}`,
      )
  }
  const fields: Record<string, unknown> = {}
  for (const name of [...FIELDS.all, ...FIELDS[reader]])
    if (item[name] !== undefined && item[name] !== null) fields[name] = item[name]
  if (typeof fields.keys === "string" && !URL_LIKE.test(fields.keys))
    fields.keys = resolve(directory, fields.keys)

  const { signatureSecretFile, signatureSecretFiles, ...rest } = fields
  const secretOf = (field: string, file: unknown, label: string): string | undefined => {
    const path = typeof file === "string" && file !== "" ? resolve(directory, file) : undefined
    if (path !== undefined) files.push(path)
    const secret =
      path === undefined
        ? void problems.push(`${label} must be the path of a file`)
        : readSecretFile(path, label, problems)
    if (secret === undefined) unreadable.add(field)
    return secret
  }
  const secretFiles: [file: unknown, label: string][] = Array.isArray(signatureSecretFiles)
    ? signatureSecretFiles.map((file, index) => [file, `${where}.signatureSecretFiles[${index}]`])
    : []
  if (signatureSecretFiles !== undefined && !Array.isArray(signatureSecretFiles))
    problems.push(`${where}.signatureSecretFiles must be a list of paths`)
  if (signatureSecretFile !== undefined)
    secretFiles.push([signatureSecretFile, `${where}.signatureSecretFile`])
  if (secretFiles.length > 0)
    rest.signatureSecrets = secretFiles
      .map(([file, label]) => secretOf("signatureSecrets", file, label))
      .filter((secret) => secret !== undefined)
  for (const field of ["callbackToken", "apiSecret", "applicationKey"] as const) {
    const { [SECRET_FIELDS[field]]: file } = rest
    if (file === undefined) continue
    delete rest[SECRET_FIELDS[field]]
    rest[field] = secretOf(field, file, `${where}.${SECRET_FIELDS[field]}`)
  }
  return { fields: rest, unreadable, label: (path) => `${where}${path.map(asWritten).join("")}` }
}

const asWritten = (segment: PropertyKey): string =>
  typeof segment === "number"
    ? `[${segment}]`
    : `.${(SECRET_FIELDS as Readonly<Record<string, string>>)[String(segment)] ?? String(segment)}`
