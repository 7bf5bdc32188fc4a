/** What routes read from requests. Everything is text, and may be anything. */
import type { Request } from "express"

/** The query of a request. */
export const queryOf = (request: Request): URLSearchParams =>
  new URL(request.originalUrl, "http://console").searchParams

/** A field of the query, if it is there once and not empty. */
export function parameter(request: Request, name: string): string | undefined {
  const [value, ...others] = queryOf(request).getAll(name)
  return value === undefined || value === "" || others.length > 0 ? undefined : value
}

/** A field of a form, if it is there once and not empty. */
export function field(request: Request, name: string): string | undefined {
  const value = (request.body as Record<string, unknown> | undefined)?.[name]
  return typeof value === "string" && value !== "" ? value : undefined
}

/** `text` if it is a path of ours, and the overview's otherwise: nobody is sent elsewhere after signing in. */
export function localPath(text: string | undefined): string {
  const url = text?.startsWith("/") ? URL.parse(text, "http://console") : null
  // A path that begins with two slashes would be another host's.
  return url?.origin === "http://console" && !url.pathname.startsWith("//")
    ? `${url.pathname}${url.search}`
    : "/"
}
