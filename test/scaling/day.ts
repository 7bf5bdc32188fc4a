/** How much a made-up customer records: archives per hour, from night to evening, with a peak in the morning. */

/** Archives per hour at full hours; straight lines between them. An archive stands for 1.5 GB. */
const CURVE: readonly (readonly [hour: number, perHour: number])[] = [
  [6, 45],
  [6.5, 60],
  [7.5, 240],
  [8.5, 960],
  [10, 960],
  [11, 480],
  [12, 360],
  [13, 420],
  [14.5, 540],
  [15.5, 240],
  [17, 60],
]

/** Lessons and consultations that end at the full hour: archives that come at once. */
const BURSTS: readonly (readonly [hour: number, archives: number])[] = [
  [9, 120],
  [10, 60],
  [14, 60],
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
