/** A graph panel as SVG. */
import type { Step } from "./files.ts"
import { written } from "./units.ts"

export interface Line {
  readonly name: string
  readonly color: string
  /** Seconds since 1970, and the value; NaN is a gap. */
  readonly points: readonly (readonly [time: number, value: number])[]
}

export interface ChartOptions {
  readonly width: number
  readonly height: number
  readonly unit: string
  readonly stacked: boolean
  readonly logarithmic: boolean
  readonly max?: number | undefined
  /** Dashed lines. */
  readonly steps: readonly Step[]
  /** Seconds since 1970. */
  readonly from: number
  readonly until: number
}

const LEFT = 66
const BOTTOM = 18

/** The lines of a stack, the top one first, each on those below it. */
function stackedUp(lines: readonly Line[]): Line[] {
  const sums = new Map<number, number>()
  return lines
    .map((line) => ({
      ...line,
      points: line.points.map(([time, value]) => {
        const sum = (sums.get(time) ?? 0) + (Number.isFinite(value) ? value : 0)
        sums.set(time, sum)
        return [time, sum] as const
      }),
    }))
    .reverse()
}

export function chart(given: readonly Line[], options: ChartOptions): string {
  const { width, height, unit, stacked, logarithmic, steps, from, until } = options
  const lines = stacked ? stackedUp(given) : given
  const values = lines.flatMap(({ points }) => points.map(([, value]) => value)).filter(Number.isFinite)
  const highest = Math.max(...values, 0)
  const limits = steps.filter(({ value }) => value !== null && (value as number) <= highest * 20)
  const step = niceStep(highest || 1)
  const most = options.max ?? step * Math.ceil((highest || 1) / step)
  const least = logarithmic ? Math.min(...values.filter((value) => value > 0), most) : 0
  const plot = height - BOTTOM - 6
  const x = (time: number) => LEFT + ((time - from) / (until - from)) * (width - LEFT - 6)
  const share = (value: number) =>
    logarithmic ? Math.log(Math.max(value, least) / least) / Math.log(most / least || 2) : value / most
  const y = (value: number) => 6 + plot * (1 - Math.min(1.02, share(value)))
  const count = options.max === undefined ? Math.round(most / step) : 4
  const ticks = Array.from({ length: count + 1 }, (_, index) =>
    logarithmic ? least * (most / least) ** (index / count) : (most * index) / count,
  )
  const times = Array.from({ length: 5 }, (_, index) => from + ((until - from) * (index + 0.5)) / 5)
  return [
    `<svg width="${width}" height="${height}">`,
    ...ticks.map(
      (tick) =>
        `<line x1="${LEFT}" x2="${width - 6}" y1="${y(tick)}" y2="${y(tick)}" stroke="#2c3235"/><text x="${LEFT - 6}" y="${y(tick) + 4}" text-anchor="end">${written(tick, unit)}</text>`,
    ),
    ...times.map(
      (time) =>
        `<text x="${x(time)}" y="${height - 3}" text-anchor="middle">${new Date(time * 1_000).toISOString().slice(11, 19)}</text>`,
    ),
    ...lines.map((line) => drawLine(line, x, y, stacked)),
    ...limits
      .filter(({ value }) => y(value!) >= 0 && share(value!) <= 1)
      .map(
        ({ value, color }) =>
          `<line x1="${LEFT}" x2="${width - 6}" y1="${y(value!)}" y2="${y(value!)}" stroke="${color}" stroke-dasharray="6 5"/>`,
      ),
    "</svg>",
  ].join("")
}

function drawLine(
  { points, color }: Line,
  x: (time: number) => number,
  y: (value: number) => number,
  filled: boolean,
): string {
  const pieces: (readonly [number, number])[][] = [[]]
  for (const point of points) {
    if (Number.isFinite(point[1])) pieces.at(-1)!.push(point)
    else if (pieces.at(-1)!.length > 0) pieces.push([])
  }
  return pieces
    .filter((piece) => piece.length > 0)
    .map((piece) => {
      const path = piece.map(([time, value]) => `${x(time).toFixed(1)},${y(value).toFixed(1)}`)
      const [first, last] = [x(piece[0]![0]), x(piece.at(-1)![0])]
      const area = `<polygon points="${first},${y(0)} ${path.join(" ")} ${last},${y(0)}" fill="${color}" fill-opacity="${filled ? 0.45 : 0.08}"/>`
      const dot =
        piece.length === 1 ? `<circle cx="${first}" cy="${y(piece[0]![1])}" r="2.5" fill="${color}"/>` : ""
      return `${area}<polyline points="${path.join(" ")}" fill="none" stroke="${color}" stroke-width="1.6"/>${dot}`
    })
    .join("")
}

/** A round step that makes three to five ticks up to `most`. */
function niceStep(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most))
  return [0.2, 0.25, 0.5, 1, 2, 2.5].map((factor) => factor * power).find((step) => most / step <= 5) ?? power
}
