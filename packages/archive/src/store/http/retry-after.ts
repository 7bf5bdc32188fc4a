/**
 * The delay that a `Retry-After` header asks for, in milliseconds (RFC 9110, section 10.2.3: seconds, or an HTTP date).
 * `undefined` without a valid header.
 */
export function retryAfterMs(
  header: string | null | undefined,
  now: number = Date.now(),
): number | undefined {
  const text = header?.trim()
  if (!text) return undefined
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1_000
  // Requires a weekday's name, because Date.parse makes a date even of "-1".
  const date = /^[A-Za-z]{3,9},? /.test(text) ? Date.parse(text) : Number.NaN
  return Number.isNaN(date) ? undefined : Math.max(0, date - now)
}
