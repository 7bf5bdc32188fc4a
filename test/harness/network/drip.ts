/** Limits of silence in milliseconds. The last is longer than any machine stands still. */
const LIMITS = [100, 500, 3_000] as const

/**
 * Runs `attempt`, which lets a peer drip and checks the result, until it holds once. If the machine itself stands still for longer
 * than the limit of silence, a drip looks like silence. So each attempt tolerates more than the previous one. The last decides.
 */
export async function withDrips(attempt: (idleTimeoutMs: number) => Promise<void>): Promise<void> {
  for (const idleTimeoutMs of LIMITS.slice(0, -1)) {
    try {
      return await attempt(idleTimeoutMs)
    } catch {
      // If it is not the machine's fault, the next attempt fails, too.
    }
  }
  await attempt(LIMITS.at(-1)!)
}
