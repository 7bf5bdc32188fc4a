/** How times, sizes and counts are shown. */
import { type Content, type Html, html } from "../html.ts"

const MINUTE = 60_000
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** A duration in at most two units: `12 s`, `5 min`, `3 h 20 min`, `5 d`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`
  if (ms < MINUTE) return `${Math.floor(ms / 1_000)} s`
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`
  if (ms < 2 * DAY) {
    const minutes = Math.floor((ms % HOUR) / MINUTE)
    return `${Math.floor(ms / HOUR)} h${minutes > 0 ? ` ${minutes} min` : ""}`
  }
  return `${Math.floor(ms / DAY)} d`
}

/** Decimal units, as the stores' vendors count. */
export function bytes(count: number): string {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"]
  let value = count
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1_000
    unit++
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

export const number = (count: number): string => count.toLocaleString("en-US")

/** `1 archive`, `1,204 archives`. */
export const counted = (count: number, one: string, many = `${one}s`): string =>
  `${number(count)} ${count === 1 ? one : many}`

/** A moment in the past, by how long ago it was. The exact time is in its title. */
export const ago = (iso: string, now: number): Html => moment(iso, `${duration(now - Date.parse(iso))} ago`)

/** How long ago a moment was, without a word. */
export const since = (iso: string, now: number): Html => moment(iso, duration(now - Date.parse(iso)))

/** A moment in the future, by when it is. */
export function within(iso: string, now: number): Html {
  const ms = Date.parse(iso) - now
  return moment(iso, ms <= 0 ? "now" : `in ${duration(ms)}`)
}

/** The exact moment, to the second. */
export const exactly = (iso: string): Html =>
  html`<time datetime="${iso}">${iso.slice(0, 19).replace("T", " ")} UTC</time>`

const moment = (iso: string, text: Content): Html =>
  html`<time datetime="${iso}" title="${iso.slice(0, 19).replace("T", " ")} UTC">${text}</time>`

/** A clause of the code's tables as a sentence. */
export const sentence = (clause: string): string =>
  `${clause.charAt(0).toUpperCase()}${clause.slice(1)}${clause.endsWith(".") ? "" : "."}`
