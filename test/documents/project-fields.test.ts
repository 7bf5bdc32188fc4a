/** A field of a project is one row: what a row brings is seen with rows that only this test has. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PROJECT_FIELDS, type ProjectFields, type ProjectsReader } from "@unseal/service/projects/fields"
import { parseProjects } from "@unseal/service/projects/parse"
import { unknownNames } from "@unseal/service/settings/environment"
import { settingsOf } from "@unseal/service/settings/of-projects"
import { SETTINGS } from "@unseal/service/settings/table"
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest"
import { fieldsTable } from "./projects.ts"

const FIELDS: ProjectFields = {
  ...PROJECT_FIELDS,
  notify: {
    readers: ["worker", "destination"],
    schema: PROJECT_FIELDS.apiUrl.schema,
    variable: "UNSEAL_NOTIFY",
    formerly: { field: "hook", variable: "UNSEAL_HOOK" },
    takes: "a URL with https://",
    meaning: "who is told of an archive that is done",
  },
  notifySecrets: {
    readers: ["worker"],
    schema: PROJECT_FIELDS.signatureSecrets.schema,
    ...{ kind: "list", secret: true, variable: "UNSEAL_NOTIFY_SECRET" },
    takes: "texts of at least 8 characters",
    meaning: "what notifications are signed with",
  },
  spool: {
    readers: ["ingest"],
    schema: PROJECT_FIELDS.apiSecret.schema,
    kind: "location",
    takes: "a path or a URL",
    meaning: "where callbacks are kept",
  },
}

const STORES = { source: "file:///in", destination: "file:///out", keys: "/keys" }
const VARIABLES = {
  ...{ UNSEAL_PROJECT_ID: "1", UNSEAL_SIGNATURE_SECRET: "0123456789abcdef" },
  ...{ UNSEAL_SOURCE: STORES.source, UNSEAL_DESTINATION: STORES.destination, UNSEAL_KEYS: STORES.keys },
}

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "unseal-fields-"))
})
afterAll(() => rmSync(directory, { recursive: true }))
beforeEach(() => writeFileSync(join(directory, "secret"), "hunter2-hunter2-hunter2\n"))

function parse(reader: ProjectsReader, env: Readonly<Record<string, string>>) {
  const { projects, problems, files } = parseProjects(reader, env, FIELDS)
  return { project: projects.get("1") as Record<string, unknown> | undefined, problems, files }
}

function parseFile(reader: ProjectsReader, project: object) {
  const path = join(directory, "projects.json")
  writeFileSync(path, JSON.stringify({ projects: [{ id: "1", ...project }] }))
  const { problems, ...rest } = parse(reader, { UNSEAL_PROJECTS_FILE: path })
  return { ...rest, problems: problems.map((problem) => problem.replace(`${path}: `, "")) }
}

test("its variable is read by its readers, and by nobody else", () => {
  const env = {
    ...VARIABLES,
    UNSEAL_NOTIFY: "https://me",
    UNSEAL_NOTIFY_SECRET: "hunter2-the-first-one, hunter2-the-second-one",
  }
  const { project, problems } = parse("worker", env)
  expect(problems).toEqual([])
  expect(project).toMatchObject({
    notify: "https://me",
    notifySecrets: ["hunter2-the-first-one", "hunter2-the-second-one"],
  })
  expect(parse("destination", env).project).toMatchObject({ notify: "https://me" })
  for (const reader of ["destination", "stores", "ingest", "vendor"] as const)
    expect(parse(reader, env).project, reader).not.toHaveProperty("notifySecrets")
})

test("a wrong value is reported by the variable, or by its place in the file", () => {
  expect(parse("worker", { ...VARIABLES, UNSEAL_NOTIFY: "me" }).problems).toEqual([
    "UNSEAL_NOTIFY must be a URL with https://",
  ])
  expect(parseFile("worker", { ...STORES, notify: "ftp://me" }).problems).toEqual([
    "projects[0].notify must be a URL with https://",
  ])
  expect(parseFile("ingest", { signatureSecretFile: "secret", notify: 7 }).problems).toEqual([])
})

test("its secret is in a file, which is looked at again, and no message has it", () => {
  const file = join(directory, "secret")
  const given = { ...VARIABLES, UNSEAL_NOTIFY_SECRET_FILE: file }
  expect(parse("worker", given)).toMatchObject({
    project: { notifySecrets: ["hunter2-hunter2-hunter2"] },
    files: [file],
  })
  const read = parseFile("worker", { ...STORES, notifySecretFile: "secret" })
  expect(read).toMatchObject({ problems: [], project: { notifySecrets: ["hunter2-hunter2-hunter2"] } })
  expect(read.files).toContain(file)
  const two = parseFile("worker", { ...STORES, notifySecretFiles: ["secret", "secret"] })
  expect(two.project).toMatchObject({ notifySecrets: ["hunter2-hunter2-hunter2", "hunter2-hunter2-hunter2"] })

  writeFileSync(file, "hunter2")
  expect(parse("worker", given).problems).toEqual([
    expect.stringMatching(/^UNSEAL_NOTIFY_SECRET has 7 bytes/),
  ])
  for (const field of ["notifySecret", "notifySecrets"])
    expect(parseFile("worker", { ...STORES, [field]: "hunter2" }).problems).toEqual([
      `projects[0].${field} holds a secret: give the file that holds it, notifySecretFile`,
    ])
  expect(parseFile("worker", { ...STORES, notifySecretFile: "absent" }).problems).toEqual([
    `projects[0].notifySecretFile: ${join(directory, "absent")} can't be read (ENOENT)`,
  ])
})

test("its path starts at the file's own directory, and its URL stays as it is", () => {
  const spool = (value: string) =>
    parseFile("ingest", { signatureSecretFile: "secret", spool: value }).project?.spool
  expect(spool("a/b")).toBe(join(directory, "a/b"))
  expect(spool("s3://bucket")).toBe("s3://bucket")
})

test("it is known by name, and by the name that it had before", () => {
  const settings = { ...SETTINGS, ...settingsOf(FIELDS) }
  const env = { UNSEAL_NOTIFY: "", UNSEAL_NOTIFY_SECRET_FILE: "", UNSEAL_NOTIFI: "", UNSEAL_HOOK: "" }
  expect(unknownNames(env, settings)).toEqual([
    "UNSEAL_NOTIFI is not a setting: did you mean UNSEAL_NOTIFY?",
    "UNSEAL_HOOK is called UNSEAL_NOTIFY now: rename it",
  ])
  expect(parseFile("worker", { ...STORES, hook: "https://me", unknown: 1 }).problems).toEqual([
    "projects[0].hook is called notify now: rename it",
    expect.stringMatching(
      /^projects\[0\]\.unknown is not a field .* notify, notifySecretFile, notifySecretFiles, spool$/,
    ),
  ])
  const both = { ...VARIABLES, UNSEAL_PROJECTS_FILE: "/x", UNSEAL_NOTIFY: "https://me" }
  expect(parse("worker", both).problems.join()).toContain("UNSEAL_NOTIFY are both set")
})

test("it is a row of the settings and of the documents", () => {
  expect(settingsOf(FIELDS)).toMatchObject({
    UNSEAL_NOTIFY: { for: ["worker", "cli"], default: null, formerly: "UNSEAL_HOOK" },
    UNSEAL_NOTIFY_SECRET: { secret: true, takes: "texts of at least 8 characters, separated by commas" },
  })
  expect(fieldsTable(FIELDS).split("\n").slice(-4, -1)).toEqual([
    "| `notify` | worker, cli | a URL with https:// | – | `UNSEAL_NOTIFY` | who is told of an archive that is done |",
    "| `notifySecretFile`, `notifySecretFiles` | worker | path of a file, or list of paths: texts of at least 8 characters | – | `UNSEAL_NOTIFY_SECRET` | what notifications are signed with |",
    "| `spool` | ingest | a path or a URL | – | – | where callbacks are kept |",
  ])
})
