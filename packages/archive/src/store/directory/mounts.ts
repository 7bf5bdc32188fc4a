/** Which mount a directory is of: what one dead mount blocks is blocked for all of its directories, and must not be more for many. */
import { readFileSync } from "node:fs"
import { sep } from "node:path"

/** The mounts of this process, as proc(5) has them; empty where the system has no such file. It asks no file system but the kernel's own. */
export function readMounts(): string {
  try {
    return readFileSync("/proc/self/mountinfo", "utf8")
  } catch {
    return ""
  }
}

/**
 * The mount point of `directory`, an absolute path; `undefined` for that of the root, which a link may lead out of. Links are
 * not followed, since that would ask a mount that may be dead.
 */
export function mountOf(directory: string, mounts: string): string | undefined {
  const points = mounts
    .split("\n")
    .map((line) => line.split(" ", 5)[4])
    // Space, tab, line feed and backslash are octal there.
    .map((point) =>
      point?.replaceAll(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((point) => point !== undefined && point !== sep)
    .filter((point) => directory === point || directory.startsWith(`${point}${sep}`))
  return points.toSorted((one, other) => one!.length - other!.length).at(-1)
}
