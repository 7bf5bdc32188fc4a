/** An error as a log line holds it. */
export interface SerializedError {
  readonly type: string
  readonly code?: string
  readonly message: string
  readonly stack?: string
  readonly cause?: SerializedError
}

const MAX_CAUSES = 5

/**
 * What an operator needs of `error` and its chain of causes. Nothing else is copied: SDK errors carry the request and the
 * response, with signatures and headers. Credentials and queries are cut out of URLs in messages, since a presigned URL is a
 * credential.
 */
export function serializeError(error: unknown, causes: number = MAX_CAUSES): SerializedError {
  if (!(error instanceof Error)) return { type: typeof error, message: withoutQueries(String(error)) }
  const { code, cause } = error as Error & { code?: unknown }
  return {
    type: error.name,
    ...(typeof code === "string" || typeof code === "number" ? { code: String(code) } : {}),
    message: withoutQueries(error.message),
    ...(error.stack === undefined ? {} : { stack: withoutQueries(error.stack) }),
    ...(cause === undefined || cause === null || causes === 0
      ? {}
      : { cause: serializeError(cause, causes - 1) }),
  }
}

/** `text` with the credentials and the query of every URL in it removed. */
export const withoutQueries = (text: string): string =>
  text
    .replace(/(\b[a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/@"']*@/gi, "$1")
    .replace(/(\b[a-z][a-z0-9+.-]{0,30}:\/\/[^\s?"'<>]{0,2000})\?[^\s"'<>)]*/gi, "$1?…")
