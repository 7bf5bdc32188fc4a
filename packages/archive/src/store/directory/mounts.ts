/** Finds a directory's mount. A dead mount blocks all of its directories, which together must not block more threads than one. */
import { readFileSync } from "node:fs"
import { sep } from "node:path"

/** The mounts of this process, from proc(5). Empty on systems without it. Reads no file system but the kernel's own. */
export function readMounts(): string {
  try {
    return readFileSync("/proc/self/mountinfo", "utf8")
  } catch {
    return ""
  }
}

/**
 * The mount point of `directory`, an absolute path. `undefined` for the root's mount, because a link may lead elsewhere. Links
 * are not resolved, because that could access a dead mount.
 */
export function mountOf(directory: string, mounts: string): string | undefined {
  const points = mounts
    .split("\n")
    .map((line) => line.split(" ", 5)[4])
    // The list writes space, tab, line feed and backslash in octal.
    .map((point) =>
      point?.replaceAll(/\\([0-7]{3})/g, (_, octal) => String.fromCharCode(Number.parseInt(octal, 8))),
    )
    .filter((point) => point !== undefined && point !== sep)
    .filter((point) => directory === point || directory.startsWith(`${point}${sep}`))
  return points.toSorted((one, other) => one!.length - other!.length).at(-1)
}
