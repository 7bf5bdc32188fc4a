/** Reads a submission line by line or object by object, and decides which. */
import { findCallback, isCallback } from "./callback-in-text.ts"
import { BrokenDocument, type FoundObject, ObjectScanner } from "./documents.ts"
import { readRow, readSubmittedCallback, type Said } from "./fields.ts"
import { type Line, LineSplitter, LONGEST_TEXT } from "./lines.ts"
import { SubmissionError } from "./submission-error.ts"
import { type Read, TableReader } from "./table-reader.ts"

/** Takes text in chunks. */
export interface Reading {
  push(chunk: Buffer): Generator<Read>
  end(): Generator<Read>
}

/**
 * How to read what begins with `head`. `undefined` if more bytes are needed, which never happens if `isAll`. `name` is for
 * messages.
 */
export function readingOf(
  head: Buffer,
  isAll: boolean,
  name: string,
  projectId: string | undefined,
): Reading | undefined {
  const form = formOf(head, isAll)
  if (form === undefined) return undefined
  return form === "lines" ? byLines(name, projectId) : byObjects(name, projectId)
}

function formOf(head: Buffer, isAll: boolean): "lines" | "objects" | undefined {
  const start = head.findIndex((byte) => !isSpace(byte))
  if (start < 0) return isAll ? "lines" : undefined
  if (head[start] === 0x5b) {
    const next = head.subarray(start + 1).find((byte) => !isSpace(byte))
    if (next === undefined && !isAll) return undefined
    // A log may begin with `[2026-…`.
    return next === 0x7b || next === 0x5d ? "objects" : "lines"
  }
  if (head[start] !== 0x7b) return "lines"
  const end = head.indexOf(0x0a, start)
  if (end < 0 && !isAll && head.length <= LONGEST_TEXT) return undefined
  if (end >= 0 && parse(head.toString("utf8", start, end)) !== undefined) return "lines"
  return formOfObjects(head.subarray(start), isAll)
}

/** The form of a text that begins with an object and has more on that line. A line that was cut looks the same. */
function formOfObjects(head: Buffer, isAll: boolean): "lines" | "objects" | undefined {
  const found: FoundObject[] = []
  try {
    new ObjectScanner().push(head, found)
  } catch (error) {
    if (!(error instanceof BrokenDocument)) throw error
    if (found.length === 0) return "lines"
  }
  if (found.length > 0) return parse(found[0]!.text) === undefined ? "lines" : "objects"
  if (!isAll && head.length <= LONGEST_TEXT) return undefined
  return head.includes("\n{") ? "lines" : "objects"
}

const isSpace = (byte: number) => byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function byLines(name: string, projectId: string | undefined): Reading {
  const splitter = new LineSplitter()
  const table = new TableReader(name, projectId)
  return {
    *push(chunk) {
      for (const line of splitter.push(chunk)) yield* readLine(line, table, projectId)
    },
    *end() {
      for (const line of splitter.end()) yield* readLine(line, table, projectId)
      yield* table.end()
    },
  }
}

function readLine(line: Line, table: TableReader, projectId: string | undefined): readonly Read[] {
  const { text } = line
  if (text === null) return [{ ...line, said: { malformed: `it has more than ${LONGEST_TEXT} bytes` } }]
  if (table.isWithinRow) return table.push({ ...line, text }) ?? []
  const bare = text.trim()
  if (bare === "" || (bare.startsWith("#") && !bare.includes("{"))) return []
  if (bare.startsWith("{") || bare.startsWith("[")) {
    const value = parse(bare)
    const objects = value === undefined ? [] : objectsIn(value)
    if (objects.length > 0)
      return objects.map((object) => {
        const own = objects.length === 1 ? text : JSON.stringify(object)
        return { line: line.line, text: own, said: readObject(object, own, projectId) }
      })
    return [{ ...line, said: readText(text, projectId, bare.startsWith("{")) }]
  }
  // Among the rows of a table there may be lines of a log.
  const found = text.includes("{") ? findCallback(text) : {}
  if ("callback" in found) return [{ ...line, said: readSubmittedCallback(found.callback, projectId) }]
  return table.push({ ...line, text }) ?? [{ ...line, said: readText(text, projectId, false) }]
}

/** The objects of a JSON value: itself, the elements of an array, or those of a page of the vendor's list. */
function objectsIn(value: unknown): object[] {
  if (typeof value !== "object" || value === null) return []
  const items: unknown = Array.isArray(value)
    ? value
    : "items" in value && !("id" in value)
      ? value.items
      : [value]
  return Array.isArray(items) && items.every((item) => typeof item === "object" && item !== null) ? items : []
}

function readObject(object: object, text: string, projectId: string | undefined): Said {
  if (isCallback(object)) return readSubmittedCallback(object, projectId)
  if ("archiveId" in object && ("password" in object || "encryptedPassword" in object))
    return readArchive(object as Record<string, unknown>, projectId)
  return readText(text, projectId, false)
}

/** An object with the names of a table's columns, or of "unseal archives list --all-fields". */
function readArchive(object: Record<string, unknown>, projectId: string | undefined): Said {
  const { status } = object
  const textOf = (name: string) => {
    const value = object[name]
    return typeof value === "string" || typeof value === "number" ? { [name]: String(value) } : {}
  }
  if (typeof status === "string" && status !== "uploaded" && status !== "available")
    return { ignored: "not-uploaded", ...textOf("archiveId") }
  const password = object.password ?? object.encryptedPassword
  return readRow(
    {
      ...Object.assign({}, ...["archiveId", "projectId", "key", "size", "sha256sum"].map(textOf)),
      ...(typeof password === "string" && { password }),
    },
    projectId,
  )
}

function readText(text: string, projectId: string | undefined, mustBeJson: boolean): Said {
  const found = findCallback(text)
  if ("callback" in found) return readSubmittedCallback(found.callback, projectId)
  if ("broken" in found) return { malformed: "it seems to hold a callback, whose JSON is cut or garbled" }
  return mustBeJson && parse(text) === undefined
    ? { malformed: "it is not JSON" }
    : { ignored: "no-callback" }
}

function byObjects(name: string, projectId: string | undefined): Reading {
  const scanner = new ObjectScanner()
  function* read(scan: (found: FoundObject[]) => void): Generator<Read> {
    const found: FoundObject[] = []
    let broken: BrokenDocument | undefined
    try {
      scan(found)
    } catch (error) {
      if (!(error instanceof BrokenDocument)) throw error
      broken = error
    }
    for (const { line, text } of found) {
      const value = parse(text)
      const said: Said =
        typeof value === "object" && value !== null
          ? readObject(value, text, projectId)
          : { malformed: "it is not JSON" }
      yield { line, text, said }
    }
    if (broken === undefined) return
    throw new SubmissionError(
      "ERR_SUBMISSION_BROKEN",
      `${name} ${broken.message} (line ${broken.line}): everything before it was read, and nothing after it; correct that line, or write one callback per line`,
    )
  }
  return {
    push: (chunk) => read((found) => scanner.push(chunk, found)),
    end: () => read(() => scanner.end()),
  }
}
