/**
 * A table in CSV (RFC 4180) with a header. Commas, semicolons or tabs separate fields: spreadsheets write one or another,
 * depending on the country.
 */
import { nearest } from "@unseal/archive/did-you-mean"
import type { Row } from "./fields.ts"

const NAMES = ["archiveId", "projectId", "password", "key", "size", "sha256sum"] as const
type Name = (typeof NAMES)[number]

/** For messages: what a header looks like. */
export const HEADER = "archiveId,projectId,password"

const DELIMITERS = [",", ";", "\t"] as const

/** A header: its text, its delimiter, and the name of each column, or `null` for a column that is not used. */
export interface Header {
  readonly text: string
  readonly delimiter: string
  readonly columns: readonly (Name | null)[]
}

/**
 * The header in `text`. If `text` is meant as a header but has mistakes: what is wrong. Otherwise `null`. With `isProjectGiven`,
 * the column projectId may be missing.
 */
export function readHeader(text: string, isProjectGiven: boolean): Header | { problem: string } | null {
  const [delimiter, titles] = DELIMITERS.map((each) => [each, splitRow(text, each) ?? []] as const).reduce(
    (best, each) => (each[1].length > best[1].length ? each : best),
  )
  if (titles.length < 2) return null
  if (titles.some((title) => UUID.test(title.trim())))
    return titles.some((title) => /^[A-Za-z0-9+/=]{128,}$/.test(title.trim()))
      ? { problem: `has no header: its first line must name the columns, as in ${HEADER}` }
      : null
  const columns = titles.map(nameOf)
  const required = NAMES.slice(0, 3).filter((name) => name !== "projectId" || !isProjectGiven)
  const missing = required.filter((name) => !columns.includes(name))
  const twice = NAMES.find((name) => columns.indexOf(name) !== columns.lastIndexOf(name))
  if (twice !== undefined) return { problem: `has two columns ${twice}` }
  const unused = titles.filter((_, index) => columns[index] === null)
  const meant = unused.flatMap((title) => {
    const name = nearest(
      title.trim(),
      NAMES.filter((each) => !columns.includes(each)),
    )
    return name === undefined || title.trim() === "" ? [] : [{ title: title.trim(), name }]
  })
  // Most lines with commas are not headers.
  if (columns.every((name) => name === null) && meant.length < 2) return null
  const [typo] = meant
  if (typo !== undefined) return { problem: `has a column "${typo.title}": did you mean "${typo.name}"?` }
  if (missing.length > 0)
    return { problem: `has no column ${missing.join(", ")} in its header; it needs at least ${HEADER}` }
  return { text, delimiter, columns }
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i

const bare = (title: string) => title.toLowerCase().replace(/[\s_-]/g, "")

function nameOf(title: string): Name | null {
  if (bare(title) === "encryptedpassword") return "password"
  return NAMES.find((name) => name.toLowerCase() === bare(title)) ?? null
}

/**
 * The fields of a row. If it is malformed: what is wrong. `open` if a quote is not closed, because the row continues on the next
 * line.
 */
export function readFields(text: string, { delimiter, columns }: Header): Row | { problem: string } | "open" {
  const fields = splitRow(text, delimiter)
  if (fields === null) return "open"
  const extra = fields.slice(columns.length)
  if (fields.length < columns.length || extra.some((field) => field !== ""))
    return { problem: `the row has ${fields.length} fields, and the header ${columns.length}` }
  const row: Partial<Record<Name, string>> = {}
  for (const [index, name] of columns.entries()) if (name !== null) row[name] = fields[index]!
  return row
}

/** The fields of a row; `null` if a quote is not closed. */
function splitRow(text: string, delimiter: string): string[] | null {
  if (!text.includes('"')) return text.split(delimiter)
  const fields: string[] = []
  for (let at = 0; at <= text.length; ) {
    if (text[at] !== '"') {
      const end = text.indexOf(delimiter, at)
      fields.push(text.slice(at, end < 0 ? text.length : end))
      at = end < 0 ? text.length + 1 : end + 1
      continue
    }
    let field = ""
    let quote = text.indexOf('"', at + 1)
    for (at++; quote >= 0 && text[quote + 1] === '"'; quote = text.indexOf('"', at)) {
      field += text.slice(at, quote + 1)
      at = quote + 2
    }
    if (quote < 0) return null
    const end = text.indexOf(delimiter, quote)
    // RFC 4180 allows nothing between the quote and the delimiter. We keep it.
    fields.push(field + text.slice(at, quote) + text.slice(quote + 1, end < 0 ? text.length : end))
    at = end < 0 ? text.length + 1 : end + 1
  }
  return fields
}
