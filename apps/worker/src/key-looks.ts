/** Looking at the key rings that are open, with bounded work: for metrics, which must not cost more with more projects. */
import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import { withDeadline } from "@unseal/queue/deadline"

const LOOKS_AT_ONCE = 50
const LOOK_MS = 1_000

type NamedRing = readonly [location: string, keyRing: OpenedKeyRing]

interface Look {
  readonly at: number
  readonly isUnreadable: boolean
}

/**
 * A function that looks at no more than 50 of the key rings it is given, those first that have waited longest, for a second at
 * most; it gives back all of them but those that could not be read at their last look.
 */
export function createKeyLooks(
  limitMs = LOOK_MS,
): (open: readonly NamedRing[]) => Promise<readonly NamedRing[]> {
  const looks = new WeakMap<OpenedKeyRing, Look>()
  const lookedAt = (keyRing: OpenedKeyRing) => looks.get(keyRing)?.at ?? 0
  const isUnreadable = (keyRing: OpenedKeyRing) => looks.get(keyRing)?.isUnreadable ?? false

  async function lookAt(keyRing: OpenedKeyRing): Promise<void> {
    const at = performance.now()
    looks.set(keyRing, { at, isUnreadable: isUnreadable(keyRing) })
    const failed = await keyRing.refresh().then(
      () => false,
      () => true,
    )
    looks.set(keyRing, { at, isUnreadable: failed })
  }

  return async (open) => {
    const due = open.toSorted(([, a], [, b]) => lookedAt(a) - lookedAt(b)).slice(0, LOOKS_AT_ONCE)
    const looked = Promise.all(due.map(([, keyRing]) => lookAt(keyRing)))
    // One on a network that does not answer must not keep all other metrics waiting.
    await withDeadline(looked, limitMs, () => new Error("timeout")).catch(() => {})
    return open.filter(([, keyRing]) => !isUnreadable(keyRing))
  }
}
