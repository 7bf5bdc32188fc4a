import { constants } from "node:fs"
import { open, readFile } from "node:fs/promises"
import type { WrittenPart } from "../contract.ts"
import { systemCode } from "./errors.ts"
import { FILE_MODE } from "./object.ts"

/** An upload's journal, parsed. */
export interface Journal {
  readonly size: number
  readonly partSize: number
  readonly parts: ReadonlyMap<number, WrittenPart>
}

const HEADER = /^unseal-parts 1 (\d+) (\d+)$/
const PART = /^(\d+) (\d+) ([0-9a-f]{8})$/
const VOID = /^(\d+) void$/

/** Begins the journal of an upload. */
export const beginJournal = (file: string, size: number, partSize: number): Promise<void> =>
  append(file, `unseal-parts 1 ${size} ${partSize}\n`, constants.O_CREAT | constants.O_EXCL)

/** Notes a part whose bytes are already on the disk. Not synced: if power fails, a lost note costs one part. */
export const noteWritten = (file: string, number: number, part: WrittenPart): Promise<void> =>
  append(file, `${number} ${part.size} ${part.tag}\n`)

/** Notes that a part is about to be overwritten. The note is on the disk before this returns. */
export const noteVoid = (file: string, number: number): Promise<void> =>
  append(file, `${number} void\n`, constants.O_DSYNC)

// Only `beginJournal` creates the file: a late note must not recreate the file of an aborted upload.
async function append(file: string, line: string, flags = 0): Promise<void> {
  const handle = await open(file, constants.O_WRONLY | constants.O_APPEND | flags, FILE_MODE)
  try {
    await handle.writeFile(line)
  } finally {
    await handle.close()
  }
}

/** The journal, or `null` if there is none. A part's last note counts. Torn lines are ignored. */
export async function readJournal(file: string): Promise<Journal | null> {
  let text: string
  try {
    text = await readFile(file, "latin1")
  } catch (error) {
    if (systemCode(error) === "ENOENT") return null
    throw error
  }
  // The process was killed while it wrote what follows the last line end.
  const [header = "", ...lines] = text.split("\n").slice(0, -1)
  const match = HEADER.exec(header)
  if (!match) return null
  const parts = new Map<number, WrittenPart>()
  for (const line of lines) {
    const [, number, size, tag] = PART.exec(line) ?? []
    if (number !== undefined) parts.set(Number(number), { size: Number(size), tag: tag! })
    else parts.delete(Number(VOID.exec(line)?.[1]))
  }
  return { size: Number(match[1]), partSize: Number(match[2]), parts }
}
