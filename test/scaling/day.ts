/** How much a made-up customer records: archives of 1.5 GB per hour, in two hours of a morning, with a peak. */

/** Archives per hour at given hours; straight lines between them. A worker of 100 MB/s decrypts 240 in an hour. */
const CURVE: readonly (readonly [hour: number, perHour: number])[] = [
  [8, 120],
  [8.25, 240],
  [8.5, 960],
  [9.1, 960],
  [9.35, 240],
  [9.5, 60],
  [10, 60],
]

/** Lessons and consultations that end at the same time: archives that come at once. */
const BURSTS: readonly (readonly [hour: number, archives: number])[] = [
  [8.75, 40],
  [9, 80],
]

export const FIRST_HOUR = CURVE[0]![0]
export const LAST_HOUR = CURVE.at(-1)![0]

/** Archives that have been recorded from the first hour until `hour`. */
export function recordedUntil(hour: number): number {
  let archives = 0
  for (const [index, [from, rate]] of CURVE.entries()) {
    const next = CURVE[index + 1]
    if (next === undefined || hour <= from) break
    const [to, rateAfter] = next
    const until = Math.min(hour, to)
    const rateThen = rate + ((rateAfter - rate) * (until - from)) / (to - from)
    archives += ((rate + rateThen) / 2) * (until - from)
  }
  for (const [at, count] of BURSTS) if (hour >= at) archives += count
  return Math.floor(archives)
}
