import { serializeError } from "./error-serializer.ts"

/** Fields whose value is never logged, wherever they are in a line. `key` is not listed: it names an object. */
const SECRET_FIELDS = new Set([
  ...["password", "encryptedPassword", "passphrase", "secret", "signatureSecret", "signatureSecrets"],
  ...["token", "callbackToken", "authorization", "Authorization", "cookie", "x-opentok-auth"],
  ...["contentKey", "privateKey", "iv", "secretAccessKey", "sessionToken", "accessKey", "accountKey"],
  ...["secretKey", "connectionString", "sasToken", "credentials"],
])

const CENSOR = "[redacted]"
/** Deeper than any line. What lies below is left out, so that circular structures end. */
const MAX_DEPTH = 8

/**
 * The `fields` of a log line with the value of every secret field replaced by `[redacted]`, at any depth. The same object if
 * there is none. An error becomes what its serializer keeps of it; the line's own `err` is left to the logger. Pino's own
 * redaction, with as many paths on four levels, takes 140 µs per line, more than a whole callback may cost. This takes 1 µs.
 */
export function redact(fields: Record<string, unknown>): Record<string, unknown> {
  const { err, ...rest } = fields
  return err === undefined ? redactObject(fields, 0) : { err, ...redactObject(rest, 0) }
}

function redactObject<Fields extends object>(fields: Fields, depth: number): Fields {
  let copy: Record<string, unknown> | undefined
  for (const [name, value] of Object.entries(fields)) {
    const kept = SECRET_FIELDS.has(name) && value !== undefined ? CENSOR : redactValue(value, depth + 1)
    if (kept === value) continue
    copy ??= (Array.isArray(fields) ? [...fields] : { ...fields }) as Record<string, unknown>
    copy[name] = kept
  }
  return (copy as Fields | undefined) ?? fields
}

function redactValue(value: unknown, depth: number): unknown {
  if (typeof value !== "object" || value === null) return value
  if (value instanceof Error) return serializeError(value)
  if (depth > MAX_DEPTH) return "[too deep]"
  // Dates, URLs and buffers, which define their own form.
  if ("toJSON" in value && typeof value.toJSON === "function") return value
  return redactObject(value, depth)
}
