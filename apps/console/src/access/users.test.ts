import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ConfigurationError } from "@unseal/service/settings/settings"
import { afterEach, beforeEach, expect, test } from "vitest"
import { openUsers } from "./users.ts"

const HASH = `scrypt$16384$8$1$c2FsdHNhbHRzYWx0c2FsdA$${"A".repeat(43)}`
let directory: string
let path: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "unseal-users-"))
  path = join(directory, "users")
})
afterEach(() => rmSync(directory, { recursive: true }))

const problemsOf = (content: string): readonly string[] => {
  writeFileSync(path, content)
  try {
    openUsers(path)
    return []
  } catch (error) {
    return (error as ConfigurationError).problems
  }
}

test("each line is a user: a reader, unless the line says operator", () => {
  writeFileSync(path, `# who may look\nrita:${HASH}\r\n\n  otto@example.com:${HASH}:operator  \n`)
  const users = openUsers(path)
  expect(users.get("rita")).toEqual({ name: "rita", hash: HASH, role: "reader" })
  expect(users.get("otto@example.com")?.role).toBe("operator")
  expect(users.get("nobody")).toBeUndefined()
})

test("every problem is named by its line, and no hash is repeated", () => {
  const problems = problemsOf(
    `rita\nr i:${HASH}\notto:plain text\nolga:${HASH}:admin\nann:${HASH}\nann:${HASH}\n`,
  )
  expect(problems.map((problem) => problem.slice(problem.indexOf("line")))).toEqual([
    'line 1: the hash of rita is damaged: make it again with "unseal console user rita"',
    'line 2 is not NAME:HASH or NAME:HASH:ROLE, as "unseal console user NAME" prints it',
    'line 3: the hash of otto is damaged: make it again with "unseal console user otto"',
    "line 4: olga has a role that is not one of reader, operator",
    "line 6: ann is there already: keep one of the two lines",
  ])
  expect(problems.join()).not.toContain(HASH)
})

test("a file without users, and one that can't be read, are problems", () => {
  expect(problemsOf("# nobody\n")).toEqual([expect.stringContaining("has no user")])
  expect(() => openUsers(join(directory, "missing"))).toThrow(ConfigurationError)
})

test("a changed file is taken within a second; a damaged one is reported, and the users stay", () => {
  let now = 0
  writeFileSync(path, `rita:${HASH}\n`)
  const users = openUsers(path, () => now)
  const told: (readonly string[])[] = []
  users.onInvalid((problems) => void told.push(problems))
  // As Kubernetes replaces a Secret: by another file under the same name.
  const replace = (content: string) => {
    writeFileSync(`${path}.new`, content)
    renameSync(`${path}.new`, path)
    now += 1_000
  }
  replace(`rita:${HASH}:operator\nann:${HASH}\n`)
  expect(users.get("rita")?.role).toBe("operator")
  replace("damaged")
  expect(users.get("ann")?.role).toBe("reader")
  expect(told).toHaveLength(1)
  replace(`ann:${HASH}\n`)
  expect(users.get("rita")).toBeUndefined()
})
