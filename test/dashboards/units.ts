/** Numbers as Grafana writes them, nearly: for pictures of boards. */

const digits = (value: number, decimals?: number): string =>
  decimals === undefined ? String(Number(value.toPrecision(3))) : value.toFixed(decimals)

const scaled = (value: number, steps: readonly (readonly [from: number, suffix: string])[]): string => {
  const [from, suffix] = steps.findLast(([least]) => Math.abs(value) >= least) ?? steps[0]!
  return `${digits(value / (from || 1))}${suffix}`
}

const SHORT = [
  [0, ""],
  [1e3, " K"],
  [1e6, " Mil"],
  [1e9, " Bil"],
] as const
const BYTES = [
  [0, " B"],
  [1e3, " kB"],
  [1e6, " MB"],
  [1e9, " GB"],
  [1e12, " TB"],
] as const
const SECONDS = [
  ...([
    [0, " s"],
    [60, " mins"],
    [3_600, " hours"],
    [86_400, " days"],
  ] as const),
  ...([
    [604_800, " weeks"],
    [31_536_000, " years"],
  ] as const),
] as const

/** `value` in `unit`, a unit of Grafana's that the boards have. */
export function written(value: number, unit: string, decimals?: number): string {
  if (!Number.isFinite(value)) return "–"
  switch (unit) {
    case "short":
      return decimals === undefined ? scaled(value, SHORT) : digits(value, decimals)
    case "decbytes":
      return scaled(value, BYTES)
    case "Bps":
      return `${scaled(value, BYTES)}/s`
    case "percentunit":
      return `${digits(value * 100, decimals ?? undefined)} %`
    case "s":
      if (value !== 0 && Math.abs(value) < 1e-3) return `${digits(value * 1e6)} µs`
      if (value !== 0 && Math.abs(value) < 1) return `${digits(value * 1e3)} ms`
      return scaled(value, SECONDS)
    default:
      throw new Error(`no picture can show the unit ${unit}`)
  }
}
