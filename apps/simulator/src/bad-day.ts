/** What goes wrong at the vendor on demand: set by settings, and changed by the control API while the simulator runs. */
import { z } from "zod"
import { describeQuirks, isQuirkName, type QuirkName, type Quirks } from "./s3/quirks/quirks.ts"

const every = () => z.int().min(0).max(1_000_000)

const quirk = z.string().transform((name, context): QuirkName => {
  if (isQuirkName(name)) return name
  context.addIssue(`no quirk ${JSON.stringify(name.slice(0, 80))}; there are\n${describeQuirks()}`)
  return z.NEVER
})

/** A change: what is absent stays as it is. */
export const BAD_DAY_CHANGE = z.strictObject({
  quirks: z.array(quirk).exactOptional(),
  loseCallbacksEvery: every().exactOptional(),
  delayCallbacksMs: z
    .int()
    .min(0)
    .max(24 * 3_600_000)
    .exactOptional(),
  refuseRequestsEvery: every().exactOptional(),
})

export type BadDayChange = z.output<typeof BAD_DAY_CHANGE>

export interface BadDayState {
  /** Of the S3 server; `null` if none runs. */
  readonly quirks: readonly QuirkName[] | null
  /** Every n-th callback is never sent; 0 sends all. */
  readonly loseCallbacksEvery: number
  /** How late each callback is sent. */
  readonly delayCallbacksMs: number
  /** Every n-th request to the REST API is answered 429; 0 answers all. */
  readonly refuseRequestsEvery: number
}

export interface BadDay {
  state(): BadDayState
  change(change: BadDayChange): void
  /** What happens to the next callback. */
  nextCallback(): { readonly lost: boolean; readonly delayMs: number }
  /** Whether the REST API refuses its n-th request. */
  refuses(number: number): boolean
}

export function createBadDay(
  start: Omit<BadDayState, "quirks">,
  quirks: Pick<Quirks, "names" | "clear" | "add"> | null,
): BadDay {
  let now = { ...start }
  let callbacks = 0
  const isNth = (number: number, n: number) => n > 0 && number % n === 0
  return {
    state: () => ({ quirks: quirks?.names() ?? null, ...now }),
    change({ quirks: wanted, ...rest }) {
      now = { ...now, ...rest }
      if (wanted === undefined || quirks === null) return
      quirks.clear()
      for (const name of wanted) quirks.add(name)
    },
    nextCallback: () => ({
      lost: isNth(++callbacks, now.loseCallbacksEvery),
      delayMs: now.delayCallbacksMs,
    }),
    refuses: (number) => isNth(number, now.refuseRequestsEvery),
  }
}
