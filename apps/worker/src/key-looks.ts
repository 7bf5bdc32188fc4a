/** Looking at the key directories that are open, with bounded work: for metrics, which must not cost more with more projects. */
import type { KeyDirectory } from "@unseal/archive/key-directory"
import { withDeadline } from "@unseal/queue/deadline"

const LOOKS_AT_ONCE = 50
const LOOK_MS = 1_000

type NamedDirectory = readonly [directory: string, keyRing: KeyDirectory]

interface Look {
  readonly at: number
  readonly isUnreadable: boolean
}

/**
 * A function that looks at no more than 50 of the key directories it is given, those first that have waited longest, for a second at
 * most; it gives back all of them but those that could not be read at their last look.
 */
export function createKeyLooks(
  limitMs = LOOK_MS,
): (open: readonly NamedDirectory[]) => Promise<readonly NamedDirectory[]> {
  const looks = new WeakMap<KeyDirectory, Look>()
  const lookedAt = (keyRing: KeyDirectory) => looks.get(keyRing)?.at ?? 0
  const isUnreadable = (keyRing: KeyDirectory) => looks.get(keyRing)?.isUnreadable ?? false

  async function lookAt(keyRing: KeyDirectory): Promise<void> {
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
    // A directory of a network that does not answer must not keep all other metrics waiting.
    await withDeadline(looked, limitMs, () => new Error("timeout")).catch(() => {})
    return open.filter(([, keyRing]) => !isUnreadable(keyRing))
  }
}
