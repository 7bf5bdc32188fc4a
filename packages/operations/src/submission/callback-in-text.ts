/** Finds the callback in a line of a log, whatever the logger has put around it. */

/** How many places in a line are tried as the beginning of a callback, and how many layers around it are opened. */
const MOST_PLACES = 32
const DEEPEST = 8

/** `callback`: the object · `none`: nothing looks like one · `broken`: something looks like one, but is cut or garbled. */
export type CallbackInText =
  | { readonly callback: object }
  | { readonly none: true }
  | { readonly broken: true }

/**
 * The first callback in `text`: JSON alone or after other words, nested in the logger's own JSON, or as an escaped string in
 * either.
 */
export function findCallback(text: string): CallbackInText {
  const callback = inText(text, 0)
  if (callback !== null) return { callback }
  // What every callback of an encrypted archive has, in quotes that may be escaped.
  const bare = text.replace(/[\\\s]/g, "")
  const isBroken = bare.includes('"event":"archive"') || /"password":"[^"]/.test(bare)
  return isBroken ? { broken: true } : { none: true }
}

/** Whether `value` has the shape of an archive's callback. Whether its fields are valid is another question. */
export function isCallback(value: object): boolean {
  if (!("id" in value)) return false
  if ("event" in value && typeof value.event === "string") return value.event === "archive"
  return (
    ("password" in value && (typeof value.password === "string" || value.password === null)) ||
    ("status" in value && typeof value.status === "string" && "sessionId" in value)
  )
}

function inText(text: string, depth: number): object | null {
  if (depth > DEEPEST) return null
  let at = text.indexOf("{")
  for (let places = 0; at >= 0 && places < MOST_PLACES; places++) {
    // The content of a string that the logger has quoted.
    const isEscaped = /^\{\s*\\+"/.test(text.slice(at, at + 64))
    const end = isEscaped ? endOfString(text, at) : endOfObject(text, at)
    const inner = end < 0 ? "" : text.slice(at, end)
    const value = parsed(isEscaped ? `"${inner}"` : inner)
    const found = inValue(value, depth)
    if (found !== null) return found
    at = text.indexOf("{", value === null ? at + 1 : end)
  }
  return null
}

function inValue(value: unknown, depth: number): object | null {
  if (depth > DEEPEST) return null
  if (typeof value === "string") return inText(value, depth + 1)
  if (typeof value !== "object" || value === null) return null
  if (!Array.isArray(value) && isCallback(value)) return value
  for (const inner of Object.values(value)) {
    const found = inValue(inner, depth + 1)
    if (found !== null) return found
  }
  return null
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

/** The end of the object that begins at `start`, or -1. */
function endOfObject(text: string, start: number): number {
  let depth = 0
  for (let at = start; at < text.length; at++) {
    const character = text[at]
    if (character === '"') {
      at = endOfString(text, at + 1)
      if (at < 0) return -1
    } else if (character === "{") depth++
    else if (character === "}" && --depth === 0) return at + 1
  }
  return -1
}

/** The place of the quote that ends the string whose content begins at `start`, or -1. */
function endOfString(text: string, start: number): number {
  for (let at = start; at < text.length; at++) {
    if (text[at] === "\\") at++
    else if (text[at] === '"') return at
  }
  return -1
}
