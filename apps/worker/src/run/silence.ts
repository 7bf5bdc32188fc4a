/**
 * Handles a store that accepts everything and answers nothing. Each request would be waited for, and repeated, for minutes.
 * Meanwhile its project's archives would occupy every slot of every worker, and all other archives would wait.
 */
import { type ErrorCode, isUnsealError, UnsealError } from "@unseal/archive/errors"

/** Counted in ticks, not by a clock: a stopped process or a busy loop is not the store's silence. */
const TICK_MS = 1_000
/** Longer than a healthy store takes to answer a look. */
const SILENT_TICKS = 10
/** After this many ticks without progress a run reports that it waits. It ends if its project is suspended meanwhile. */
const IDLE_TICKS = 5

/** A read or a write in progress, which may hear nothing for longer than a look may. */
export interface Transfer {
  /**
   * The signal for its requests: aborted with the caller's signal, or with `ERR_STORE_UNAVAILABLE` once the store counts as
   * silent.
   */
  readonly signal: AbortSignal
  /** Resolves like `work`. The store's silence counts against the transfer only during this. */
  waiting<T>(work: Promise<T>): Promise<T>
}

/** Called each second in which a run waits and has made no progress for five. */
export type Waits = () => void

/** What all runs of this process have heard of one store. */
export interface Silence {
  /** The store has refused a request that will be repeated. That is an answer, but no progress. */
  refused(): void
  /** Creates one run's view. */
  of(waits: Waits): RunSilence
}

/** One run's dealings with a store. */
export interface RunSilence {
  /** The store has answered something, or accepted some bytes. */
  heard(): void
  /**
   * Resolves like `look`, a request with a short answer. Throws `ERR_STORE_UNAVAILABLE` once neither it nor any other request to
   * the store has been answered for ten seconds. A request that waits its turn behind others goes on waiting.
   */
  limited<T>(what: string, look: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T>
  /**
   * Begins a read or a write of `what`. If the store is silent for ten seconds while a transfer waits, it is asked for a `look`. If
   * the look fails, or is not answered within ten seconds more, every waiting transfer is aborted. A transfer that `mayTakeLong`,
   * such as the commit of parts, never reports that it waits.
   */
  transfer(
    what: string,
    look: (signal: AbortSignal) => Promise<unknown>,
    signal: AbortSignal,
    mayTakeLong?: boolean,
  ): Transfer
}

interface Waiting {
  readonly what: string
  /** Called with each tick. */
  tick(): void
  readonly look: (signal: AbortSignal) => Promise<unknown>
  abort(reason: UnsealError): void
}

export function createSilence(tickMs = TICK_MS): Silence {
  let answers = 0
  const inTicks = (ticks: number) => `${(ticks * tickMs) / 1_000} s`
  const silent = (what: string, ticks: number, other: string) =>
    new UnsealError("ERR_STORE_UNAVAILABLE", `${what}: no answer for ${inTicks(ticks)}, nor to ${other}`)

  /** Transfers, each as often as it waits. */
  const waiting = new Set<Waiting>()
  let timer: NodeJS.Timeout | undefined
  let answersThen = 0
  let quietTicks = 0
  let asked: AbortController | undefined

  function listen(): void {
    if (timer !== undefined) return
    answersThen = answers
    quietTicks = 0
    timer = setInterval(tick, tickMs)
    timer.unref()
  }

  function tick(): void {
    for (const one of waiting) one.tick()
    if (waiting.size === 0 || answers !== answersThen) {
      answersThen = answers
      quietTicks = 0
      asked?.abort()
      asked = undefined
      if (waiting.size > 0) return
      clearInterval(timer)
      timer = undefined
      return
    }
    quietTicks++
    if (quietTicks === SILENT_TICKS) ask()
    if (quietTicks >= 2 * SILENT_TICKS) giveUp((what) => silent(what, 2 * SILENT_TICKS, "a look"))
  }

  function ask(): void {
    const [first] = waiting
    const limit = new AbortController()
    const { signal } = limit
    asked = limit
    first!.look(signal).then(
      () => void answers++,
      (error: unknown) => {
        if (signal.aborted) return
        if (!isUnsealError(error, "ERR_STORE_UNAVAILABLE")) answers++
        else if (answers === answersThen)
          giveUp(
            (what) =>
              new UnsealError(
                error.code,
                `${what}: no answer for ${inTicks(SILENT_TICKS)}, and a look fails: ${error.message}`,
                { remedy: error.ownRemedy },
              ),
          )
      },
    )
  }

  function giveUp(reasonFor: (what: string) => UnsealError): void {
    quietTicks = 0
    asked?.abort()
    asked = undefined
    // Each gets its own error, because its catcher notes on it which side it came from.
    for (const one of [...waiting]) one.abort(reasonFor(one.what))
  }

  /** One run's view. `moves` counts what the run has moved so far. */
  function of(waits: Waits): RunSilence {
    let moves = 0
    /** To be called with each tick of one wait. */
    const countTicks = () => {
      let before = moves
      let ticks = 0
      return () => {
        ticks = moves === before ? ticks + 1 : 0
        before = moves
        if (ticks >= IDLE_TICKS) waits()
      }
    }
    const heard = () => {
      answers++
      moves++
    }
    return {
      heard,
      async limited(what, look, signal) {
        const limit = new AbortController()
        const tell = countTicks()
        let before = answers
        let ticks = 0
        const timer = setInterval(() => {
          tell()
          ticks = answers === before ? ticks + 1 : 0
          before = answers
          if (ticks >= SILENT_TICKS) limit.abort(silent(what, SILENT_TICKS, "any other request"))
        }, tickMs)
        try {
          const answer = await look(AbortSignal.any([signal, limit.signal]))
          heard()
          return answer
        } finally {
          clearInterval(timer)
        }
      },
      transfer(what, look, signal, mayTakeLong = false) {
        const cut = new AbortController()
        return {
          signal: AbortSignal.any([signal, cut.signal]),
          async waiting(work) {
            const tick = mayTakeLong ? () => {} : countTicks()
            const one = { what, look, tick, abort: (reason: UnsealError) => cut.abort(reason) }
            waiting.add(one)
            listen()
            try {
              return await work
            } finally {
              waiting.delete(one)
            }
          },
        }
      },
    }
  }

  return {
    of,
    refused() {
      answers++
    },
  }
}

/** Resolves like `work`. Calls `waits` each second once it has taken five. */
export async function idling<T>(work: Promise<T>, waits: Waits, tickMs = TICK_MS): Promise<T> {
  let ticks = 0
  const timer = setInterval(() => ++ticks >= IDLE_TICKS && waits(), tickMs)
  try {
    return await work
  } finally {
    clearInterval(timer)
  }
}

const silences = new WeakMap<object, Silence>()

/** The silence of `store`, which all its holders share. */
export function silenceOf(store: object): Silence {
  const silence = silences.get(store) ?? createSilence()
  silences.set(store, silence)
  return silence
}

/** Whether a request that will be repeated was refused. A store that refuses is not silent. */
export const isAnswer = (code: ErrorCode): boolean => code === "ERR_STORE_BUSY" || code === "ERR_STORE_DENIED"
