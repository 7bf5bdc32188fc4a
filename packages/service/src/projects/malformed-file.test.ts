import { execFileSync } from "node:child_process"
import { writeFileSync } from "node:fs"
import { join } from "node:path"
import { describe, expect, it } from "vitest"
import { BOTH, directory, file, problemsOf, problemsOfFile } from "../../../../test/harness/projects-file.ts"
import { readProjects } from "./projects.ts"

describe("a projects file", () => {
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
})
