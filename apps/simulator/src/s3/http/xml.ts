import { XMLParser } from "fast-xml-parser"
import { S3Error } from "./s3-error.ts"

const NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

const parser = new XMLParser({
  parseTagValue: false,
  trimValues: false,
  htmlEntities: true,
  isArray: (name) => name === "Part" || name === "Object",
})

/** The children of the document's root, which must be called `root`. Leaves are strings; `Part` and `Object` are arrays. */
export function parseDocument(text: string, root: string): Readonly<Record<string, unknown>> {
  // S3 accepts no document type. Expanding a client's entities could exhaust memory.
  if (text.includes("<!DOCTYPE")) throw new S3Error("MalformedXML")
  let document: Record<string, unknown>
  try {
    document = parser.parse(text, true)
  } catch {
    throw new S3Error("MalformedXML")
  }
  const content = document[root]
  if (content === "") return {}
  if (typeof content !== "object" || content === null) throw new S3Error("MalformedXML")
  return content as Record<string, unknown>
}

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" }

// Keys may contain control characters. S3, too, sends them as character references.
const escapeText = (text: string): string =>
  text.replace(/[&<>"\p{Cc}]/gu, (c) => ESCAPES[c] ?? `&#x${c.charCodeAt(0).toString(16)};`)

/** One element. Text is escaped; a list holds finished children, and its undefined entries are skipped. */
export function element(
  name: string,
  content: string | number | boolean | readonly (string | undefined)[],
): string {
  const inner = Array.isArray(content) ? content.join("") : escapeText(String(content))
  return `<${name}>${inner}</${name}>`
}

/** The element, or nothing where S3 leaves the element out. */
export const optional = (name: string, content: string | number | undefined): string | undefined =>
  content === undefined ? undefined : element(name, content)

/** A complete XML answer. Error documents have no namespace. */
export function xmlDocument(name: string, children: readonly (string | undefined)[]): string {
  const opening = name === "Error" ? "<Error>" : `<${name} xmlns="${NAMESPACE}">`
  return `<?xml version="1.0" encoding="UTF-8"?>\n${opening}${children.join("")}</${name}>`
}
