import { UsageError } from "./exit.ts"

const UNITS: Readonly<Record<string, number>> = {
  ...{ B: 1, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12 },
  ...{ KIB: 2 ** 10, MIB: 2 ** 20, GIB: 2 ** 30, TIB: 2 ** 40 },
}

/** The bytes of a size: a number, alone or with a unit, as in `500MB` or `1.5GiB`. Throws `UsageError` that names `option`. */
export function readSize(option: string, text: string): number {
  const [, number, unit = "B"] = /^(\d{1,15}(?:\.\d{1,9})?) ?([kmgt]?i?b)?$/i.exec(text) ?? []
  const factor = UNITS[unit.toUpperCase()]
  if (number === undefined || factor === undefined)
    throw new UsageError(`${option} must be a size like 500MB or 1.5GiB, not "${text}"`)
  return Math.round(Number(number) * factor)
}
