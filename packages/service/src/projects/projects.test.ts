import { execFileSync } from "node:child_process"
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll, beforeAll, describe, expect, it } from "vitest"
import { ConfigurationError } from "../settings/settings.ts"
import type { ProjectsReader } from "./fields.ts"
import { readProjects } from "./projects.ts"

const UUID = "6f0c4b2e-8c55-4c5b-9a3b-0d4f1f0e7a11"
const TOKEN = "a-token-of-enough-length"

const WORKER = {
  UNSEAL_PROJECT_ID: "123456",
  UNSEAL_SOURCE: "s3://in/archives?region=eu-central-1",
  UNSEAL_DESTINATION: "file:///out",
  UNSEAL_KEYS: "keys",
}

let directory: string
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "unseal-projects-"))
  mkdirSync(join(directory, "secrets"))
  writeFileSync(join(directory, "secrets/old"), "the old secret of callbacks\n")
  writeFileSync(join(directory, "secrets/new"), "the new secret of callbacks\n")
  writeFileSync(join(directory, "secrets/token"), `${TOKEN}\n`)
})
afterAll(() => rmSync(directory, { recursive: true, force: true }))

function file(content: string, name = "projects.yaml"): string {
  const path = join(directory, name)
  writeFileSync(path, content)
  return path
}

function problemsOf(reader: ProjectsReader, env: Record<string, string>): readonly string[] {
  try {
    readProjects({ for: reader, env })
  } catch (error) {
    if (error instanceof ConfigurationError) return error.problems
    throw error
  }
  return []
}

const problemsOfFile = (reader: ProjectsReader, content: string): readonly string[] => {
  const path = file(content)
  return problemsOf(reader, { UNSEAL_PROJECTS_FILE: path }).map((problem) => problem.replace(`${path}: `, ""))
}

describe("a single project", () => {
  it("has what the worker needs, with the default templates", () => {
    const projects = readProjects({ for: "worker", env: WORKER })
    expect(projects.ids).toEqual(["123456"])
    expect(projects.get("123456")).toEqual({
      id: "123456",
      source: "s3://in/archives?region=eu-central-1",
      destination: "file:///out",
      sourceKeys: ["{projectId}/{archiveId}/archive.ts", "{projectId}/{archiveId}/archive.mp4"],
      destinationKey: "{projectId}/{archiveId}/archive.ts",
      keys: "keys",
      limits: {},
    })
    expect(projects.get("toString")).toBeUndefined()
  })

  it("has what ingest needs, and two secrets while one is rotated", () => {
    const env = {
      UNSEAL_PROJECT_ID: UUID.toUpperCase(),
      UNSEAL_SIGNATURE_SECRET: "the old secret of callbacks, the new secret of callbacks",
    }
    expect(readProjects({ for: "ingest", env }).get(UUID)).toEqual({
      id: UUID,
      callbackAuth: "signed",
      signatureSecrets: ["the old secret of callbacks", "the new secret of callbacks"],
    })
  })

  it("has a token, which may be in a file", () => {
    const env = {
      UNSEAL_PROJECT_ID: "1",
      UNSEAL_CALLBACK_AUTH: "token",
      UNSEAL_CALLBACK_TOKEN_FILE: join(directory, "secrets/token"),
    }
    expect(readProjects({ for: "ingest", env }).get("1")).toEqual({
      id: "1",
      callbackAuth: "token",
      signatureSecrets: [],
      callbackToken: TOKEN,
    })
  })

  it("is read without the other process's variables, so that an unreadable secret file of those does not matter", () => {
    const env = {
      ...WORKER,
      UNSEAL_SIGNATURE_SECRET_FILE: "/no/such/secret",
      UNSEAL_CALLBACK_TOKEN_FILE: "/no/such/token",
    }
    expect(readProjects({ for: "worker", env }).get("123456")).not.toHaveProperty("signatureSecrets")
    const ingest = { ...WORKER, UNSEAL_SOURCE: "nonsense", UNSEAL_SIGNATURE_SECRET: "s".repeat(16) }
    expect(Object.keys(readProjects({ for: "ingest", env: ingest }).get("123456") ?? {})).toEqual([
      "id",
      "callbackAuth",
      "signatureSecrets",
    ])
  })

  it("with a secret that can't be read has only that problem", () => {
    const env = { UNSEAL_PROJECT_ID: "1", UNSEAL_SIGNATURE_SECRET_FILE: "/no/such/file" }
    expect(problemsOf("ingest", env)).toEqual([
      "UNSEAL_SIGNATURE_SECRET_FILE: /no/such/file can't be read (ENOENT)",
    ])
  })

  it("may be open to everybody only if that is said twice", () => {
    const env = { UNSEAL_PROJECT_ID: "1", UNSEAL_CALLBACK_AUTH: "none" }
    expect(problemsOf("ingest", env)).toEqual([
      "UNSEAL_CALLBACK_AUTH is none, so anybody could submit callbacks: set UNSEAL_ALLOW_UNAUTHENTICATED=1 if you want that",
    ])
    const allowed = { ...env, UNSEAL_ALLOW_UNAUTHENTICATED: "1" }
    expect(readProjects({ for: "ingest", env: allowed }).get("1")?.callbackAuth).toBe("none")
  })

  it.each<[string, Record<string, string>, string]>([
    [
      "no secret",
      { UNSEAL_PROJECT_ID: "1" },
      "UNSEAL_SIGNATURE_SECRET is missing, and callbacks are authenticated by their signature",
    ],
    [
      "an empty second secret",
      { UNSEAL_PROJECT_ID: "1", UNSEAL_SIGNATURE_SECRET: "a secret that is long," },
      "UNSEAL_SIGNATURE_SECRET is missing",
    ],
    [
      "three secrets",
      {
        UNSEAL_PROJECT_ID: "1",
        UNSEAL_SIGNATURE_SECRET: "hunter2-hunter2-hunter2,b-123456789012345,c-123456789012345",
      },
      "UNSEAL_SIGNATURE_SECRET holds more than two secrets: the old one and the new one are enough to rotate",
    ],
    [
      "a secret that was cut",
      { UNSEAL_PROJECT_ID: "1", UNSEAL_SIGNATURE_SECRET: "hunter2-hunter2" },
      "UNSEAL_SIGNATURE_SECRET has 15 bytes, and a signature secret has at least 16: copy all of it",
    ],
    [
      "no token",
      { UNSEAL_PROJECT_ID: "1", UNSEAL_CALLBACK_AUTH: "token" },
      "UNSEAL_CALLBACK_TOKEN is missing, and callbacks are authenticated by token",
    ],
    [
      "a short token",
      { UNSEAL_PROJECT_ID: "1", UNSEAL_CALLBACK_AUTH: "token", UNSEAL_CALLBACK_TOKEN: "hunter2" },
      "UNSEAL_CALLBACK_TOKEN must have 16 to 256 characters, only letters, digits and - . _ ~",
    ],
    [
      "an unknown mode",
      { UNSEAL_PROJECT_ID: "1", UNSEAL_CALLBACK_AUTH: "open" },
      "UNSEAL_CALLBACK_AUTH must be signed, token or none",
    ],
    [
      "an id of another form",
      { UNSEAL_PROJECT_ID: "../1", UNSEAL_SIGNATURE_SECRET: "s".repeat(16) },
      "UNSEAL_PROJECT_ID must be an OpenTok API key (digits) or a Vonage application id (UUID)",
    ],
    [
      "no project",
      {},
      "there is no project: set UNSEAL_PROJECTS_FILE, or UNSEAL_PROJECT_ID and the settings that go with it",
    ],
    [
      "both forms",
      { UNSEAL_PROJECTS_FILE: "/x", UNSEAL_PROJECT_ID: "1" },
      "UNSEAL_PROJECTS_FILE and UNSEAL_PROJECT_ID are both set: keep the file or the variables",
    ],
  ])("is refused with %s", (_name, env, problem) => {
    const problems = problemsOf("ingest", env)
    expect(problems).toContain(problem)
    expect(problems.join()).not.toContain("hunter2")
  })

  it.each<[string, Record<string, string>, string]>([
    ["no source", { UNSEAL_SOURCE: "" }, "UNSEAL_SOURCE is missing"],
    [
      "an unknown scheme",
      { UNSEAL_SOURCE: "gs://bucket" },
      "UNSEAL_SOURCE has the scheme gs:// where s3://, azure:// or file:// is needed",
    ],
    [
      "no URL",
      { UNSEAL_DESTINATION: "/out" },
      "UNSEAL_DESTINATION is not a URL: s3://bucket/prefix, azure://container/prefix or file:///directory",
    ],
    ["no bucket", { UNSEAL_SOURCE: "s3:///prefix" }, "UNSEAL_SOURCE names no bucket"],
    [
      "a credential in the URL",
      { UNSEAL_SOURCE: "s3://key:hunter2@bucket" },
      "UNSEAL_SOURCE holds a credential: those come from the SDK's own chain, or from a named profile",
    ],
    [
      "a relative directory",
      { UNSEAL_DESTINATION: "file://out/x" },
      "UNSEAL_DESTINATION names a host: a directory is file:///directory",
    ],
    [
      "a broken escape",
      { UNSEAL_DESTINATION: "file:///out%zz" },
      "UNSEAL_DESTINATION holds a % that begins no UTF-8 escape",
    ],
    [
      "a template without the archive",
      { UNSEAL_DESTINATION_KEY: "{projectId}/archive.ts" },
      "UNSEAL_DESTINATION_KEY must hold {archiveId}",
    ],
    [
      "an unknown placeholder",
      { UNSEAL_SOURCE_KEYS: "{archiveId}.ts,{archiveId}/{name}.ts" },
      "UNSEAL_SOURCE_KEYS holds {name}: only {projectId} and {archiveId} are known",
    ],
    [
      "a half placeholder",
      { UNSEAL_DESTINATION_KEY: "{archiveId}/{x" },
      "UNSEAL_DESTINATION_KEY holds {: only {projectId} and {archiveId} are known",
    ],
    [
      "a way out of the prefix",
      { UNSEAL_DESTINATION_KEY: "../{archiveId}" },
      "UNSEAL_DESTINATION_KEY must be a relative path without empty, . or .. segments",
    ],
    [
      "an absolute template",
      { UNSEAL_DESTINATION_KEY: "/{archiveId}" },
      "UNSEAL_DESTINATION_KEY must be a relative path without empty, . or .. segments",
    ],
  ])("is refused for the worker with %s", (_name, change, problem) => {
    const problems = problemsOf("worker", { ...WORKER, ...change })
    expect(problems).toEqual([problem])
    expect(problems.join()).not.toContain("hunter2")
  })

  it("may not write the plaintext over the ciphertext, however bucket and prefix are divided", () => {
    const same = "UNSEAL_DESTINATION_KEY names the same object as a source key"
    const at = (source: string, destination: string, key = "{projectId}/{archiveId}/archive.ts") =>
      problemsOf("worker", {
        ...WORKER,
        UNSEAL_SOURCE: source,
        UNSEAL_DESTINATION: destination,
        UNSEAL_DESTINATION_KEY: key,
      })
    expect(at("s3://b/p", "s3://b/p")[0]).toContain(same)
    expect(at("s3://b/p?region=x", "s3://b/p/?profile=y")[0]).toContain(same)
    expect(at("s3://b/p", "s3://b", "p/{projectId}/{archiveId}/archive.mp4")[0]).toContain(same)
    expect(at("s3://b/p", "s3://b/p", "{projectId}/{archiveId}/plain.ts")).toEqual([])
    expect(at("s3://b/p", "s3://b/q")).toEqual([])
    expect(at("s3://b/p?endpoint=http://a", "s3://b/p?endpoint=http://b")).toEqual([])
    expect(at("azure://c?account=a", "azure://c?account=b")).toEqual([])
  })
})

describe("a projects file", () => {
  const BOTH = `
projects:
  - id: 123456
    source: s3://in
    destination: s3://out
    destinationKey: "{archiveId}.ts"
    keys: keys
    signatureSecretFile: secrets/new
  - id: ${UUID}
    source: azure://in?account=a
    destination: file:///out
    sourceKeys: ["{projectId}/{archiveId}/archive.ts"]
    keys: /run/keys
    callbackAuth: token
    callbackTokenFile: secrets/token
`

  it("serves ingest: relative secrets start at the file", () => {
    const projects = readProjects({ for: "ingest", env: { UNSEAL_PROJECTS_FILE: file(BOTH) } })
    expect(projects.ids).toEqual(["123456", UUID])
    expect(projects.get("123456")).toEqual({
      id: "123456",
      callbackAuth: "signed",
      signatureSecrets: ["the new secret of callbacks"],
    })
    expect(projects.get(UUID)).toMatchObject({ callbackAuth: "token", callbackToken: TOKEN })
  })

  it("serves the worker, which does not touch the files of secrets", () => {
    const env = { UNSEAL_PROJECTS_FILE: file(BOTH.replaceAll("secrets/", "/no/such/")) }
    const projects = readProjects({ for: "worker", env })
    expect(projects.get("123456")).toEqual({
      id: "123456",
      source: "s3://in",
      destination: "s3://out",
      sourceKeys: ["{projectId}/{archiveId}/archive.ts", "{projectId}/{archiveId}/archive.mp4"],
      destinationKey: "{archiveId}.ts",
      keys: join(directory, "keys"),
      limits: {},
    })
  })

  it("serves users of the vendor's API, by platform", () => {
    const key = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----"
    writeFileSync(join(directory, "secrets/application.pem"), `${key}\n`)
    const content = `
projects:
  - { id: 1, apiSecretFile: secrets/new }
  - { id: 2, platform: opentok, apiAuth: basic, apiSecretFile: secrets/old, apiUrl: "https://eu.example.com" }
  - { id: ${UUID}, platform: vonage, applicationKeyFile: secrets/application.pem }
  - { id: 3 }
`
    const projects = readProjects({ for: "vendor", env: { UNSEAL_PROJECTS_FILE: file(content) } })
    expect(projects.ids.map((id) => projects.get(id))).toEqual([
      {
        id: "1",
        platform: "opentok",
        credentials: { scheme: "opentok", apiSecret: "the new secret of callbacks" },
      },
      {
        ...{ id: "2", platform: "opentok", apiUrl: "https://eu.example.com" },
        credentials: { scheme: "basic", apiSecret: "the old secret of callbacks" },
      },
      { id: UUID, platform: "vonage", credentials: { scheme: "vonage", privateKey: key } },
      { id: "3", platform: "opentok" },
    ])
  })

  it("accepts an application's key with literal line breaks, and in quotes", () => {
    const pem = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"
    for (const written of [pem.replaceAll("\n", "\\n"), `"${pem.replaceAll("\n", "\\r\\n")}"`]) {
      const env = { UNSEAL_PROJECT_ID: UUID, UNSEAL_APPLICATION_KEY: written }
      expect(readProjects({ for: "vendor", env }).get(UUID)?.credentials).toEqual({
        scheme: "vonage",
        privateKey: pem,
      })
    }
  })

  it("is refused if a project's platform, credentials and limits do not fit", () => {
    const content = `
projects:
  - { id: 1, platform: vonage, apiSecretFile: secrets/new }
  - { id: ${UUID}, apiSecretFile: secrets/new }
  - { id: 2, applicationKeyFile: secrets/new, apiUrl: "ftp://x" }
  - { id: 3, apiSecret: hunter2 }
  - { id: 4, platform: tokbox }
`
    const problems = problemsOfFile("vendor", content)
    expect(problems).toEqual([
      "projects[3].apiSecret holds a secret: give the file that holds it, apiSecretFile",
      "projects[0].platform is vonage, but the id is one of opentok: OpenTok has digits, Vonage a UUID",
      "projects[1].applicationKeyFile is missing, and the REST API is authenticated by the application's key",
      "projects[2].applicationKeyFile holds no private key (PEM) without a passphrase",
      "projects[2].apiUrl must be a URL with https://",
      "projects[2].apiSecretFile is missing, and the REST API is authenticated by opentok",
      "projects[4].platform must be opentok or vonage",
    ])
    expect(problems.join()).not.toContain("hunter2")
    expect(
      problemsOfFile("worker", `projects: [{ id: 1, source: "s3://a", destination: "s3://b", keys: 7 }]`),
    ).toEqual(["projects[0].keys must be text: a number is put in quotes"])
    const limits = (text: string) =>
      problemsOfFile(
        "worker",
        `projects: [{ id: 1, source: "s3://a", destination: "s3://b", keys: k, limits: ${text} }]`,
      )
    expect(limits("{ partsInFlight: 2 }")).toEqual([])
    expect(limits("{ partsInFlight: 0 }")).toEqual([
      "projects[0].limits.partsInFlight must be a whole number from 1 to 10000",
    ])
    expect(limits("{ archives: 2 }")).toEqual(["projects[0].limits may only hold partsInFlight"])
  })

  it("may be JSON, and holds two secrets while one is rotated", () => {
    const content = JSON.stringify({
      projects: [{ id: "7", signatureSecretFiles: ["secrets/old", "secrets/new"] }],
    })
    const env = { UNSEAL_PROJECTS_FILE: file(content, "projects.json") }
    expect(readProjects({ for: "ingest", env }).get("7")?.signatureSecrets).toEqual([
      "the old secret of callbacks",
      "the new secret of callbacks",
    ])
  })

  it("with a million bad entries is refused in one line, whether JSON or YAML", () => {
    for (const text of [`{"projects":[${"0,".repeat(1_000_000)}0]}`, `projects: [${"0,".repeat(50_000)}0]`])
      expect(problemsOfFile("ingest", text)).toEqual([
        expect.stringMatching(/ holds (1000001|50001) projects: at most 20000 are read$/),
      ])
    expect(problemsOfFile("ingest", `projects:\n${"  - {}\n".repeat(1_000_000)}`)).toEqual([
      expect.stringMatching(/ has 7000010 bytes: at most 4194304 are read$/),
    ])
  })

  it("with many problems shows the first twenty and how many more there are", () => {
    const problems = problemsOfFile("ingest", `projects:\n${"  - text\n".repeat(30)}`)
    expect(problems).toHaveLength(21)
    expect(problems.at(-1)).toBe("and 10 more problems")
  })

  it("with 5,000 projects and long store URLs can be read", () => {
    const project = (id: number) => ({
      id,
      source: `s3://recordings-${id}/a/prefix/that/is/long?region=eu-central-1&profile=profile-of-${id}`,
      destination: `s3://decrypted-${id}?region=eu-central-1&serverSideEncryption=aws:kms&sseKmsKeyId=${"k".repeat(80)}`,
      keys: `/run/secrets/keys-of-project-${id}`,
    })
    const projects = Array.from({ length: 5_000 }, (_, index) => project(index))
    const env = { UNSEAL_PROJECTS_FILE: file(JSON.stringify({ projects }, null, 2)) }
    expect(readProjects({ for: "worker", env }).ids).toHaveLength(5_000)
  })

  it("is validated as a whole: every problem has its path, and no value of a secret", () => {
    const problems = problemsOfFile(
      "ingest",
      `
projects:
  - id: 1
    signatureSecret: hunter2
  - id: 1
    signatureSecretFile: /no/such/file
    sources: s3://x
  - just text
  - id: nobody
    callbackAuth: token
  - id: 1
    signatureSecretFile: secrets/new
  - id: "1"
    signatureSecretFile: secrets/old
more: 1
`,
    )
    expect(problems).toEqual([
      "more is not known: projects is the only field at the top",
      "projects[0].signatureSecret holds a secret: give the file that holds it, signatureSecretFile",
      expect.stringContaining("projects[1].sources is not a field of a project: there are id, "),
      "projects[1].signatureSecretFile: /no/such/file can't be read (ENOENT)",
      "projects[2] must be a mapping of fields",
      "projects[0].signatureSecretFile is missing, and callbacks are authenticated by their signature",
      "projects[3].id must be an OpenTok API key (digits) or a Vonage application id (UUID)",
      "projects[3].callbackTokenFile is missing, and callbacks are authenticated by token",
      "projects[5].id is 1, which an earlier project has already",
    ])
    expect(problems.join()).not.toContain("hunter2")
  })

  it.each([
    ["a key twice", "projects:\n  - id: 1\n    id: hunter2", 3],
    ["an alias of nothing", "projects:\n  - *hunter2", 2],
    ["a tag", "projects: !hunter2 []", 1],
    ["a hundred thousand brackets", "[".repeat(100_000), 1],
    ["a tab", "projects:\n\t- id: 1", 2],
  ])("with %s is refused with the line", (_name, content, line) => {
    expect(problemsOfFile("ingest", content)).toContain(`line ${line} is neither JSON nor YAML`)
  })

  it("may use YAML 1.2, but only one document", () => {
    const text = `%YAML 1.2
---
defaults: &limits { partsInFlight: 4 } # shared
projects:
  - { id: 0123, source: "file:///in", destination: "file:///out", keys: no, limits: *limits }
`
    expect(problemsOfFile("worker", text)).toEqual([
      "defaults is not known: projects is the only field at the top",
    ])
    const many = "projects: [{ id: 1 }]\n---\nprojects: [{ id: 2 }]\n"
    expect(problemsOfFile("ingest", many)[0]).toMatch(
      / holds 2 YAML documents: keep one, without lines of ---$/,
    )
  })

  it("says where it is not YAML, without quoting the line", () => {
    const problems = problemsOfFile("ingest", "projects:\n  - id: 1\n    x: [hunter2\n  - {")
    expect(problems[0]).toMatch(/^line \d+ is neither JSON nor YAML$/)
    expect(problems.join()).not.toContain("hunter2")
  })

  it.each([
    ["is empty", ""],
    ["has no projects", "projects: []"],
    ["is a list", "- id: 1"],
  ])("is refused when it %s", (_name, content) => {
    expect(problemsOfFile("worker", content)[0]).toMatch(
      /must hold a list named projects with at least one project$/,
    )
  })

  it.each(["utf8", "utf16le", "utf16be"] as const)(
    "is read as editors of every system save it, JSON or YAML: %s with a byte order mark",
    (encoding) => {
      const json = `{"projects":[{"id":"123456","signatureSecretFile":"secrets/new"}]}`
      for (const text of [BOTH, json]) {
        const bytes = Buffer.from(
          `\uFEFF${text.replaceAll("\n", "\r\n")}`,
          encoding === "utf8" ? encoding : "utf16le",
        )
        const path = file("", "marked")
        writeFileSync(path, encoding === "utf16be" ? bytes.swap16() : bytes)
        const projects = readProjects({ for: "ingest", env: { UNSEAL_PROJECTS_FILE: path } })
        expect(projects.ids[0]).toBe("123456")
      }
    },
  )

  it("is refused at once if it is a pipe, a device or a directory", () => {
    execFileSync("mkfifo", [join(directory, "pipe")])
    for (const [path, why] of [
      [join(directory, "pipe"), "not a regular file"],
      ["/dev/zero", "not a regular file"],
      [directory, "a directory"],
    ] as const)
      expect(problemsOf("worker", { UNSEAL_PROJECTS_FILE: path })).toEqual([
        `UNSEAL_PROJECTS_FILE: ${path} can't be read (${why})`,
      ])
  })

  it("is refused if it does not exist, or if its aliases would not end", () => {
    expect(problemsOf("worker", { UNSEAL_PROJECTS_FILE: "/no/such/file" })).toEqual([
      "UNSEAL_PROJECTS_FILE: /no/such/file can't be read (ENOENT)",
    ])
    const bomb = [
      "a: &a [x]",
      ...Array.from({ length: 9 }, (_, i) => {
        const [from, to] = [String.fromCharCode(97 + i), String.fromCharCode(98 + i)]
        return `${to}: &${to} [${Array(9).fill(`*${from}`)}]`
      }),
    ].join("\n")
    expect(problemsOfFile("worker", bomb)[0]).toMatch(/must hold a list named projects/)
    const fields = `source: "file:///in", destination: "file:///out", keys: keys, sourceKeys: *j`
    expect(problemsOfFile("worker", `${bomb}\nprojects: [ { id: 1, ${fields} } ]`)).toContain(
      "projects[0].sourceKeys[8] must be text: a number is put in quotes",
    )
    expect(problemsOfFile("worker", "projects: [ &a { id: 1, limits: *a } ]")).toContain(
      "projects[0].limits may only hold partsInFlight",
    )
  })

  it("answers a field's earlier name with its present one, and with nothing else", () => {
    const fields = `source: "s3://a", destination: "s3://b", keysDir: k`
    const renamed = "projects[0].keysDir is called keys now: rename it"
    for (const reader of ["worker", "stores"] as const)
      expect(problemsOfFile(reader, `projects: [{ id: 1, ${fields} }]`)).toEqual([renamed])
  })

  it("may name keys by URL, or by a path from its own directory", () => {
    const at = (keys: string) => {
      const fields = { source: "s3://a", destination: "s3://b", keys }
      const env = { UNSEAL_PROJECTS_FILE: file(JSON.stringify({ projects: [{ id: 1, ...fields }] })) }
      return readProjects({ for: "worker", env }).get("1")?.keys
    }
    for (const url of ["file:///run/keys", "awskms:///alias/archives", "pkcs11:token=a"])
      expect(at(url)).toBe(url)
    for (const path of ["keys", "./keys", "a/b:c/../../keys"]) expect(at(path)).toBe(join(directory, "keys"))
    expect(at("/keys")).toBe("/keys")
  })

  it("names the invalid item of a list", () => {
    const problems = problemsOfFile(
      "worker",
      `projects: [{ id: 1, source: "s3://a", destination: "s3://b", keys: k, sourceKeys: ["{archiveId}", "x"] }]`,
    )
    expect(problems).toEqual(["projects[0].sourceKeys[1] must hold {archiveId}"])
  })
})

describe("a file that two readers read at once", () => {
  it("is reported to both if it can't be used", () => {
    const env = { UNSEAL_PROJECTS_FILE: file("projects: [ {", "broken.yaml") }
    const problem = expect.stringMatching(/line 1 is neither JSON nor YAML/)
    for (const reader of ["worker", "vendor"] as const)
      expect(problemsOf(reader, env)).toEqual(expect.arrayContaining([problem]))
  })

  it("gives each its own fields, and does not mix two files of the same turn", () => {
    const content = (id: number) => `projects:
  - { id: ${id}, source: "file:///in", destination: "file:///out", keys: keys, apiSecretFile: secrets/new }
`
    for (const id of [1, 2]) {
      const env = { UNSEAL_PROJECTS_FILE: file(content(id), `shared-${id}.yaml`) }
      expect(readProjects({ for: "worker", env }).get(String(id))).toMatchObject({ source: "file:///in" })
      expect(readProjects({ for: "vendor", env }).get(String(id))).toMatchObject({
        credentials: { apiSecret: "the new secret of callbacks" },
      })
    }
  })
})
