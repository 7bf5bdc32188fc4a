import { expect, test } from "vitest"
import { fillKeyTemplate, matchesKeyTemplate } from "./key-template.ts"

const archive = { projectId: "123456", archiveId: "0f0e0d0c-0b0a-4a09-8807-060504030201" }

test("both placeholders are filled wherever they are", () => {
  expect(fillKeyTemplate("{projectId}/{archiveId}/{archiveId}.ts", archive)).toBe(
    `123456/${archive.archiveId}/${archive.archiveId}.ts`,
  )
})

test.each(["{projectId}/{archiveId}/archive.ts", "a+b/{archiveId}.ts", "{archiveId}-{archiveId} (1).ts"])(
  "the keys that %s stands for match it, and no others do",
  (template) => {
    const key = fillKeyTemplate(template, archive)
    expect(matchesKeyTemplate(template, "123456", key)).toBe(true)
    for (const other of [`x${key}`, `${key}x`, key.replace(archive.archiveId, "archive"), `${key}\n`])
      expect(matchesKeyTemplate(template, "123456", other)).toBe(false)
    expect(matchesKeyTemplate(template, "654321", key)).toBe(!template.includes("{projectId}"))
  },
)

test("a dot in a template matches only a dot", () => {
  expect(matchesKeyTemplate("{archiveId}.ts", "123456", `${archive.archiveId}xts`)).toBe(false)
})
