import { describe, expect, test } from "vitest"
import { SECRETS, settingRows } from "./settings.ts"

describe("the table of settings", () => {
  test("gives each setting a meaning of its own", () => {
    const meanings = settingRows().map(({ meaning }) => meaning)
    for (const { name, meaning } of settingRows()) expect(meaning, name).toMatch(/\w{3}/)
    expect(new Set(meanings).size).toBe(meanings.length)
  })

  test("shows defaults as they are written, and all values of a choice", () => {
    const rowOf = (name: string) => settingRows().find((row) => row.name === name)
    expect(rowOf("SIMULATOR_PORT")).toMatchObject({ default: "8082", choices: [], secret: false })
    expect(rowOf("SIMULATOR_REST_AUTH")).toMatchObject({
      default: "opentok",
      choices: ["opentok", "vonage", "basic"],
    })
    expect(rowOf("SIMULATOR_S3_UPLOAD_SECRET_KEY")).toMatchObject({ default: null, secret: true })
  })

  test("marks the settings that a file may hold", () => {
    expect(
      settingRows()
        .filter(({ secret }) => secret)
        .map(({ name }) => name)
        .toSorted(),
    ).toEqual(SECRETS.toSorted())
  })
})
