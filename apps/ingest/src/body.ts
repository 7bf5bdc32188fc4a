import express, { type RequestHandler } from "express"
import { Problem } from "./problem.ts"

/** A callback with a password of a 4096-bit key takes 2 kB. */
export const MAX_BODY_BYTES = 16_384

/** A callback is a flat object that contains a list of streams. */
const MAX_DEPTH = 16

/** Refuses everything but uncompressed JSON in UTF-8. What is never inflated can't be a bomb. */
export const requireJson: RequestHandler = (request, _response, next) => {
  const type = request.headers["content-type"] ?? ""
  const [, charset = "utf-8"] = /;\s*charset\s*=\s*"?([^";\s]+)/i.exec(type) ?? []
  if (!/^application\/json\s*(;|$)/i.test(type.trim()) || !/^utf-?8$/i.test(charset))
    throw new Problem("unsupported", "the body must be application/json in UTF-8")
  if (!/^(identity)?$/i.test(request.headers["content-encoding"] ?? ""))
    throw new Problem("unsupported", "the body must not be compressed")
  // The reader below would receive all of it before refusing.
  if (Number(request.headers["content-length"]) > MAX_BODY_BYTES)
    throw new Problem("too-large", "the body is larger than 16 kB")
  next()
}

/** Reads the raw body, since its hash is part of the signature, into `request.body` (a Buffer). */
export const readBody: RequestHandler = express.raw({
  type: () => true,
  limit: MAX_BODY_BYTES,
  inflate: false,
})

const utf8 = new TextDecoder("utf-8", { fatal: true })

/** Parses the JSON in `body`. Throws a `Problem` that doesn't quote it. */
export function parseJson(body: Buffer): unknown {
  let text: string
  try {
    text = utf8.decode(body)
  } catch {
    throw new Problem("invalid", "the body is not UTF-8")
  }
  if (depthOf(text) > MAX_DEPTH)
    throw new Problem("invalid", `the body is nested more than ${MAX_DEPTH} levels deep`)
  try {
    return JSON.parse(text)
  } catch {
    throw new Problem("invalid", "the body is not JSON")
  }
}

/** The nesting depth of `json`, found in one pass without parsing. */
function depthOf(json: string): number {
  let depth = 0
  let deepest = 0
  let inString = false
  for (let index = 0; index < json.length; index++) {
    const character = json[index]
    if (inString) {
      if (character === "\\") index++
      else if (character === '"') inString = false
    } else if (character === '"') inString = true
    else if (character === "[" || character === "{") deepest = Math.max(deepest, ++depth)
    else if (character === "]" || character === "}") depth--
  }
  return deepest
}
