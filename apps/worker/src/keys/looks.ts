/** Looks at the open key rings with bounded work, for metrics, whose cost must not grow with the number of projects. */

import type { OpenedKeyRing } from "@unseal/archive/keys/contract"
import { withDeadline } from "@unseal/archive/waiting"

const LOOKS_AT_ONCE = 50
const LOOK_MS = 1_000

type NamedRing = readonly [location: string, keyRing: OpenedKeyRing]

interface Look {
  readonly at: number
  readonly isUnreadable: boolean
}

/**
 * A function that looks at no more than 50 of the given key rings, the longest unseen ones first, for at most a second. It returns
 * all of them except those that could not be read at their last look.
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
    // A ring on a network that does not answer must not delay all other metrics.
    await withDeadline(looked, limitMs, () => new Error("timeout")).catch(() => {})
    return open.filter(([, keyRing]) => !isUnreadable(keyRing))
  }
}
