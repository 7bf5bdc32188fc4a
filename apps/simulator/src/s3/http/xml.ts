import { XMLParser } from "fast-xml-parser"
import { Refusal } from "./refusals.ts"

const NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"

const parser = new XMLParser({
  parseTagValue: false,
  trimValues: false,
  htmlEntities: true,
  isArray: (name) => name === "Part" || name === "Object",
})

/** The children of the request document's root, which must be called `root`. Leaves are strings, `Part` and `Object` are arrays. */
export function parseDocument(text: string, root: string): Readonly<Record<string, unknown>> {
  // S3 takes no document type, and expanding entities of the client's choosing would be a way to exhaust memory.
  if (text.includes("<!DOCTYPE")) throw new Refusal("MalformedXML")
  let document: Record<string, unknown>
  try {
    document = parser.parse(text, true)
  } catch {
    throw new Refusal("MalformedXML")
  }
  const content = document[root]
  if (content === "") return {}
  if (typeof content !== "object" || content === null) throw new Refusal("MalformedXML")
  return content as Record<string, unknown>
}

const ESCAPES: Readonly<Record<string, string>> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" }

// Control characters may be part of a key. As character references they are what S3 sends, too.
const escapeText = (text: string): string =>
  text.replace(/[&<>"\p{Cc}]/gu, (c) => ESCAPES[c] ?? `&#x${c.charCodeAt(0).toString(16)};`)

/** One element: text is escaped, a list is the finished children, of which the undefined ones are left out. */
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

/** A whole answer. Error documents have no namespace. */
export function xmlDocument(name: string, children: readonly (string | undefined)[]): string {
  const opening = name === "Error" ? "<Error>" : `<${name} xmlns="${NAMESPACE}">`
  return `<?xml version="1.0" encoding="UTF-8"?>\n${opening}${children.join("")}</${name}>`
}
