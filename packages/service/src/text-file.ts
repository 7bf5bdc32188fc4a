import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs"

/**
 * Reads a regular file of at most `limit` bytes as text: UTF-8, or UTF-16 with a byte order mark, which is dropped. Never waits for
 * a pipe, and never reads a device. An error's `code` is the system's, or says in words what is wrong.
 */
export function readTextFile(path: string, limit: number): string {
  // Non-blocking, because opening a pipe without a writer would wait for ever, before its kind is known.
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = fstatSync(file)
    if (!stats.isFile()) throw refusal(stats.isDirectory() ? "a directory" : "not a regular file")
    // Room for one byte more than the limit, so that a growing file is noticed.
    const buffer = Buffer.alloc(Math.min(Math.max(stats.size, 4_095), limit) + 1)
    let size = 0
    for (let read = -1; read !== 0 && size < buffer.length; size += read)
      read = readSync(file, buffer, size, buffer.length - size, null)
    if (size > limit) throw refusal(`more than ${limit} bytes`)
    if (size === buffer.length) throw refusal("changing")
    return textOf(buffer.subarray(0, size))
  } finally {
    closeSync(file)
  }
}

function textOf(content: Buffer): string {
  const mark = content.toString("hex", 0, 2)
  const encoding = mark === "fffe" ? "utf-16le" : mark === "feff" ? "utf-16be" : "utf-8"
  return new TextDecoder(encoding).decode(content)
}

const refusal = (code: string): Error => Object.assign(new Error(code), { code })
