/** Limits of silence in milliseconds, the last of which is longer than a machine stands still. */
const LIMITS = [100, 500, 3_000] as const

/**
 * Runs `attempt`, which lets a peer drip and asserts what comes of it, until it holds once. Where the machine itself stands still
 * for longer than the limit of silence, a drip is silence; so each attempt bears more of it than the one before. The last decides.
 */
export async function withDrips(attempt: (idleTimeoutMs: number) => Promise<void>): Promise<void> {
  for (const idleTimeoutMs of LIMITS.slice(0, -1)) {
    try {
      return await attempt(idleTimeoutMs)
    } catch {
      // Said by the next attempt, if it is not the machine's doing.
    }
  }
  await attempt(LIMITS.at(-1)!)
}
