/** Draws a morning as an SVG picture: three charts below each other, with one axis of time. */

export interface Sample {
  readonly hour: number
  readonly replicas: number
  readonly wanted: number
  readonly backlogBytes: number
  readonly ageSeconds: number
}

const WIDTH = 860
const LEFT = 70
const RIGHT = 20
const CHART = 150
const GAP = 46
const TOP = 34

interface Chart {
  readonly title: string
  readonly of: (sample: Sample) => number
  readonly color: string
  readonly isStepped?: true
  /** A dashed line, with its text. */
  readonly limit?: { readonly value: number; readonly text: string }
}

/** `objectiveSeconds` is drawn into the chart of ages. */
export function draw(samples: readonly Sample[], objectiveSeconds: number): string {
  const charts: readonly Chart[] = [
    { title: "workers", of: ({ replicas }) => replicas, color: "#1f6feb", isStepped: true },
    { title: "backlog, GB", of: ({ backlogBytes }) => backlogBytes / 1e9, color: "#8250df" },
    {
      title: "wait of the oldest archive, minutes",
      of: ({ ageSeconds }) => ageSeconds / 60,
      color: "#bc4c00",
      limit: { value: objectiveSeconds / 60, text: `objective: ${objectiveSeconds / 60} minutes` },
    },
  ]
  const hourStep = samples.at(-1)!.hour - samples[0]!.hour > 4 ? 1 : 0.25
  const first = Math.floor(samples[0]!.hour / hourStep) * hourStep
  const last = Math.ceil(samples.at(-1)!.hour / hourStep) * hourStep
  const x = (hour: number) => LEFT + ((hour - first) / (last - first)) * (WIDTH - LEFT - RIGHT)
  const height = TOP + charts.length * (CHART + GAP)
  const hours = Array.from({ length: (last - first) / hourStep + 1 }, (_, index) => first + index * hourStep)
  const drawn = charts.map((chart, index) => drawChart(chart, samples, x, TOP + index * (CHART + GAP), hours))
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" font-family="sans-serif" font-size="12" role="img" aria-label="Workers, backlog and wait over a morning">
<rect width="100%" height="100%" fill="#ffffff"/>
${drawn.join("\n")}
</svg>
`
}

function drawChart(
  { title, of, color, isStepped, limit }: Chart,
  samples: readonly Sample[],
  x: (hour: number) => number,
  top: number,
  hours: readonly number[],
): string {
  const step = niceStep(Math.max(...samples.map(of), limit?.value ?? 0, 1))
  const most = step * Math.ceil((Math.max(...samples.map(of), limit?.value ?? 0, 1) * 1.05) / step)
  const y = (value: number) => top + CHART - (value / most) * CHART
  const points = samples.flatMap((sample, index) => {
    const before = samples[index - 1]
    const here = `${x(sample.hour).toFixed(1)},${y(of(sample)).toFixed(1)}`
    return isStepped && before ? [`${x(sample.hour).toFixed(1)},${y(of(before)).toFixed(1)}`, here] : [here]
  })
  const ticks = Array.from({ length: Math.round(most / step) + 1 }, (_, index) => index * step)
  const right = WIDTH - RIGHT
  return [
    `<text x="${LEFT}" y="${top - 10}" font-weight="bold" fill="${color}">${title}</text>`,
    ...ticks.map(
      (tick) =>
        `<line x1="${LEFT}" x2="${right}" y1="${y(tick)}" y2="${y(tick)}" stroke="#d8dee4"/><text x="${LEFT - 8}" y="${y(tick) + 4}" text-anchor="end" fill="#57606a">${tick}</text>`,
    ),
    ...hours.map(
      (hour) =>
        `<text x="${x(hour).toFixed(1)}" y="${top + CHART + 16}" text-anchor="middle" fill="#57606a">${clock(hour)}</text>`,
    ),
    ...(limit
      ? [
          `<line x1="${LEFT}" x2="${right}" y1="${y(limit.value)}" y2="${y(limit.value)}" stroke="#cf222e" stroke-dasharray="6 4"/>`,
          `<text x="${right - 4}" y="${y(limit.value) - 5}" text-anchor="end" fill="#cf222e">${limit.text}</text>`,
        ]
      : []),
    `<polyline points="${points.join(" ")}" fill="none" stroke="${color}" stroke-width="1.8"/>`,
  ].join("\n")
}

/** As `8:15`. */
export const clock = (hour: number): string =>
  `${Math.floor(hour)}:${String(Math.floor((hour % 1) * 60 + 1e-6)).padStart(2, "0")}`

/** A round step that makes three to six ticks up to `most`. */
function niceStep(most: number): number {
  const power = 10 ** Math.floor(Math.log10(most / 4))
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => most / step <= 5) ?? 10 * power
}
