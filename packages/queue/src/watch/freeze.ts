/** Notices that this process's event loop was blocked for longer than a lock lasts, by its own work. */

export interface FreezeWatch {
  /** Looks now. A run that has blocked the loop may end before any timer fires. */
  check(): void
  close(): void
}

export interface FreezeOptions {
  readonly lockMs: number
  /** Called once the loop moves again, with how long it was blocked, in milliseconds. */
  onFroze(blockedMs: number): void
  /** Milliseconds. */
  readonly now?: () => number
  /** Milliseconds of processor time that this thread has used. */
  readonly cpu?: () => number
}

/**
 * The minimum share of a block that the thread must have worked. A stopped process has not worked at all; on an overloaded
 * machine the share is small.
 */
const BUSY = 1 / 20

export function createFreezeWatch({ lockMs, onFroze, ...options }: FreezeOptions): FreezeWatch {
  const now = options.now ?? (() => performance.now())
  const cpu = options.cpu ?? threadCpuMs
  const periodMs = Math.min(1_000, lockMs / 4)
  let checkedAt = now()
  let cpuThen = cpu()
  function check(): void {
    const passedMs = now() - checkedAt
    const workedMs = cpu() - cpuThen
    checkedAt += passedMs
    cpuThen += workedMs
    const blockedMs = passedMs - periodMs
    if (blockedMs > lockMs && workedMs > BUSY * blockedMs) onFroze(blockedMs)
  }
  const timer = setInterval(check, periodMs)
  timer.unref()
  return { check, close: () => clearInterval(timer) }
}

function threadCpuMs(): number {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1_000
}
