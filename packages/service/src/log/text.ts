/** The lines of a log for people at a terminal. They are made from the JSON lines, so they hold what those hold and no more. */
import { styleText } from "node:util"
import type { SerializedError } from "./error-serializer.ts"

const COLORS: Readonly<Record<string, Parameters<typeof styleText>[0]>> = {
  warn: "yellow",
  error: "red",
  fatal: "red",
  debug: "dim",
  trace: "dim",
}

/** Fields that a reader at a terminal knows, such as the version, or that the line begins with. */
const LEFT_OUT = new Set(["level", "time", "name", "version", "msg", "err"])
const FIRST = ["archiveId", "projectId", "code"]

/**
 * A JSON line as text: time (UTC), level, process, message, then the fields, those that identify an archive first. An error and its
 * causes follow on lines of their own. Control characters are escaped, because values from outside must not control a terminal.
 * `paint` colors a word of a level.
 */
export function textOf(
  json: string,
  paint: (level: string, word: string) => string = (_, word) => word,
): string {
  let line: Record<string, unknown>
  try {
    line = JSON.parse(json) as Record<string, unknown>
  } catch {
    return json
  }
  const { level, time, name, msg, err } = line as Record<string, string> & { err?: SerializedError }
  const names = [...FIRST, ...Object.keys(line).filter((field) => !FIRST.includes(field))]
  const fields = names
    .filter((field) => !LEFT_OUT.has(field) && line[field] !== undefined && line[field] !== null)
    .map((field) => `${field}=${shownAs(line[field])}`)
  const shortTime = (time ?? "").slice(11)
  const head = `${shortTime} ${paint(level ?? "", (level ?? "").toUpperCase().padEnd(5))} ${name}  ${harmless(msg ?? "")}`
  return `${[head, ...fields].join(fields.length > 0 ? "  " : "").trimEnd()}\n${err ? errorLines(err) : ""}`
}

/** Colors by level on a terminal that shows colors (`NO_COLOR`, `FORCE_COLOR` and the terminal decide). */
export const painted = (level: string, word: string): string => {
  const color = COLORS[level]
  return color === undefined ? word : styleText(color, word, { stream: process.stdout })
}

function shownAs(value: unknown): string {
  const text = typeof value === "string" ? value : JSON.stringify(value)
  return harmless(typeof value === "string" && /[\s"=]|^$/.test(text) ? JSON.stringify(text) : text)
}

const harmless = (text: string): string =>
  text.replace(
    /[\p{Cc}\p{Cf}]/gu,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  )

function errorLines({ type, code, message, stack, cause }: SerializedError, word = ""): string {
  const said = `${word}${type}${code === undefined ? "" : ` [${code}]`}: ${message}`
  const frames = (stack ?? "").split("\n").filter((line) => /^\s+at /.test(line))
  const lines = [...said.split("\n"), ...frames].map((line) => `    ${harmless(line)}\n`)
  return lines.join("") + (cause ? errorLines(cause, "caused by ") : "")
}
