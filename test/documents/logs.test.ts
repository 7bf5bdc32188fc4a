import { globSync, readFileSync } from "node:fs"
import { join, resolve } from "node:path"
import { expect, it } from "vitest"
import { LOG_EVENTS } from "./logs.ts"

const ROOT = resolve(import.meta.dirname, "../..")
const SOURCES = globSync("{packages,apps}/*/src/**/*.ts", { cwd: ROOT }).filter(
  // An archive's package logs nothing, and the command line prints.
  (path) => !path.endsWith(".test.ts") && !/^(packages\/archive|apps\/cli)\//.test(path),
)
// A span can fail, too, but is not logged.
const CALL =
  /\b(?:logger(?:\.child\([^)]*\))?\??(?:\.(?:debug|info|warn|error|fatal)|\[[^\]]*\])|limited|log|logError|writeError|(?<!\.)\bfail)\(/g

/** What stands in the code between the parentheses from `start` on, split at its commas. */
function argumentsAt(code: string, start: number): string[] {
  const found = [""]
  let depth = 0
  let quote = ""
  for (let at = start; at < code.length; at++) {
    const character = code[at]!
    if (quote !== "") {
      if (character === quote && code[at - 1] !== "\\") quote = ""
    } else if (`"'\``.includes(character)) quote = character
    else if ("([{".includes(character)) depth++
    else if (")]}".includes(character) && --depth < 0) return found
    if (character === "," && depth === 0 && quote === "") found.push("")
    else found[found.length - 1] += character
  }
  return found
}

/** The messages in `code`, where `…` stands for what is filled in. A message that is not a text there is missing. */
function messagesIn(code: string): string[] {
  const withoutComments = code.replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "")
  return [...withoutComments.matchAll(CALL)].flatMap(({ 0: call, index }) => {
    const given = argumentsAt(withoutComments, index + call.length).filter((text) => text.trim() !== "")
    // What is filled in may hold texts of its own.
    const last = (given.at(-1) ?? "").replace(/\$\{[^}]*\}/g, "…")
    return [...last.matchAll(/"([^"]+)"|`([^`]+)`/g)].map(([, text, template]) => text ?? template!)
  })
}

/** Calls whose message is a variable, and messages that stand elsewhere: these are checked where they run. */
const ELSEWHERE = [
  ...["operator's action is done", "operator's action was stopped", "operator's action failed"],
  ...["callback refused", "callback aborted", "callback failed"],
  ...["archive's object is not there yet", "archive's object does not have the announced size yet"],
  "archive's object is in an archival storage class",
]
it("every event in the code is in docs/logs.md, and nothing else", () => {
  const code = SOURCES.map((path) => readFileSync(join(ROOT, path), "utf8")).join("\n")
  const found = new Set(messagesIn(code))
  const documented = LOG_EVENTS.map(({ msg }) => msg).filter((msg) => !ELSEWHERE.includes(msg))
  expect(
    [...found].filter((msg) => !ELSEWHERE.includes(msg) && !msg.startsWith("operator's action …")).toSorted(),
  ).toEqual([...new Set(documented)].toSorted())
  for (const msg of ELSEWHERE) expect(code, msg).toContain(msg.replace(/^operator's action /, ""))
})

it("no event is listed twice", () => {
  expect(new Set(LOG_EVENTS.map(({ msg }) => msg)).size).toBe(LOG_EVENTS.length)
})

it("the reader of the code sees each form of a call", () => {
  expect(
    messagesIn(`
      logger.info("one")
      logger?.warn({ a, ...(b && { c: "no" }) }, "two")
      limited("warn", kind, fields, is ? "three" : "four")
      logger.child({}, { level: "info" }).info({ ports }, "five")
      logger.warn({ err }, \`\${what} could not be six\`)
      // logger.info("seven")
      logError(error, variable)`),
  ).toEqual(["one", "two", "three", "four", "five", "… could not be six"])
})
