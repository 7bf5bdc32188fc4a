/** An error in a log line. */
export interface SerializedError {
  readonly type: string
  readonly code?: string
  readonly message: string
  readonly stack?: string
  readonly cause?: SerializedError
}

const MAX_CAUSES = 5

/**
 * What an operator needs to know about `error` and its chain of causes. Everything else is left out, because SDK errors carry the
 * request and the response, with signatures and headers. URLs in messages lose their credentials and queries, because a presigned
 * URL is a credential.
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

/** `text` without the credentials and queries of its URLs. */
export const withoutQueries = (text: string): string =>
  text
    .replace(/(\b[a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/@"']*@/gi, "$1")
    .replace(/(\b[a-z][a-z0-9+.-]{0,30}:\/\/[^\s?"'<>]{0,2000})\?[^\s"'<>)]*/gi, "$1?…")
