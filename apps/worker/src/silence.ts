/**
 * A store that accepts everything and answers nothing. Its requests would each be waited for, and repeated, for minutes; archives
 * of its project would take every slot of every worker meanwhile, and those of all others would wait for it.
 */
import { UnsealError } from "@unseal/archive/errors"

/** Counted in ticks, not by a clock: what a stopped process or a busy loop has missed is not the store's silence. */
const TICK_MS = 1_000
/** Longer than an answer's first byte ever takes; that the rest may take longer is the store's own limit of silence. */
const SILENT_TICKS = 10

/** What was heard of one store, by all runs of this process. */
export interface Silence {
  /** The store has answered something. */
  heard(): void
  /**
   * What `look` resolves to: a request whose answer is short. `ERR_STORE_UNAVAILABLE` once neither it nor any other request to
   * the store has been answered for ten seconds; one that waits its turn behind others goes on waiting.
   */
  limited<T>(what: string, look: (signal: AbortSignal) => Promise<T>, signal: AbortSignal): Promise<T>
}

export function createSilence(tickMs = TICK_MS): Silence {
  let answers = 0
  return {
    heard() {
      answers++
    },
    async limited(what, look, signal) {
      const limit = new AbortController()
      let before = answers
      let ticks = 0
      const timer = setInterval(() => {
        ticks = answers === before ? ticks + 1 : 0
        before = answers
        if (ticks >= SILENT_TICKS)
          limit.abort(
            new UnsealError(
              "ERR_STORE_UNAVAILABLE",
              `${what}: no answer for ${(SILENT_TICKS * tickMs) / 1_000} s, nor to any other request`,
            ),
          )
      }, tickMs)
      try {
        const answer = await look(AbortSignal.any([signal, limit.signal]))
        answers++
        return answer
      } finally {
        clearInterval(timer)
      }
    },
  }
}

const silences = new WeakMap<object, Silence>()

/** That of `store`: the same for all who hold it. */
export function silenceOf(store: object): Silence {
  const silence = silences.get(store) ?? createSilence()
  silences.set(store, silence)
  return silence
}
