import { parseArgs } from "node:util"

export interface BenchOptions {
  /** Names of chapters, in the order in which they run. */
  readonly chapters: readonly string[]
  /** Small sizes and one round: for ratios only. */
  readonly quick: boolean
  /** Interleaved rounds of every comparison. */
  readonly rounds: number
  /** The size of the one large archive, in bytes. */
  readonly archiveBytes: number
  /** Settings for Unseal's own processes, in addition to those of the chapter. */
  readonly env: Readonly<Record<string, string>>
  /** Puts the tables into docs/performance.md. */
  readonly write: boolean
}

const MIB = 1024 * 1024

export const USAGE = `npm run bench -- [--chapter NAME[,NAME…]] [--quick] [--rounds N] [--size MIB] [--env NAME=VALUE]… [--write]
  --chapter   only these (see below); all of them otherwise
  --quick     small sizes and one round: for ratios only
  --rounds    interleaved rounds of each comparison (4; quick: 1)
  --size      mebibytes of the one large archive (1024; quick: 128)
  --env       a setting for Unseal's own processes, as in --env UNSEAL_PARTS_IN_FLIGHT=16; may be repeated
  --write     put the tables into docs/performance.md`

/** Reads the arguments. Throws an `Error` that says what is wrong with them. */
export function readOptions(args: readonly string[], known: readonly string[]): BenchOptions {
  const { values } = parseArgs({
    args: [...args],
    options: {
      chapter: { type: "string", multiple: true, default: [] },
      quick: { type: "boolean", default: false },
      rounds: { type: "string" },
      size: { type: "string" },
      env: { type: "string", multiple: true, default: [] },
      write: { type: "boolean", default: false },
    },
  })
  const chapters = values.chapter.flatMap((names) => names.split(","))
  for (const name of chapters)
    if (!known.includes(name)) throw new Error(`there is no chapter "${name}": ${known.join(", ")}`)
  return {
    chapters: chapters.length > 0 ? chapters : known,
    quick: values.quick,
    rounds: wholeNumber("rounds", values.rounds ?? (values.quick ? "1" : "4")),
    archiveBytes: MIB * wholeNumber("size", values.size ?? (values.quick ? "128" : "1024")),
    env: Object.fromEntries(values.env.map(assignment)),
    write: values.write,
  }
}

function wholeNumber(name: string, text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text)) throw new Error(`--${name} must be a whole number, not "${text}"`)
  return Number(text)
}

function assignment(text: string): [name: string, value: string] {
  const at = text.indexOf("=")
  if (at < 1) throw new Error(`--env must be NAME=VALUE, not "${text}"`)
  return [text.slice(0, at), text.slice(at + 1)]
}
