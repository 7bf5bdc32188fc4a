/** Compares a file's content with the checksums of its parts. */
import { type FileHandle, open } from "node:fs/promises"
import { crc32 } from "node:zlib"
import { formatCrc32 } from "../../format/crc32.ts"
import type { WrittenPart } from "../contract.ts"

/** Whether every part of the file has the CRC-32 that is its tag. */
export async function hasParts(
  target: string,
  partSize: number,
  parts: ReadonlyMap<number, WrittenPart>,
  signal?: AbortSignal,
): Promise<boolean> {
  const handle = await open(target, "r")
  try {
    for (const [number, part] of parts)
      if (formatCrc32(await crc32At(handle, (number - 1) * partSize, part.size, signal)) !== part.tag)
        return false
    return true
  } finally {
    await handle.close()
  }
}

async function crc32At(
  handle: FileHandle,
  position: number,
  size: number,
  signal?: AbortSignal,
): Promise<number> {
  const buffer = Buffer.allocUnsafe(Math.min(size, 1024 * 1024))
  let sum = 0
  for (let done = 0; done < size; ) {
    signal?.throwIfAborted()
    const length = Math.min(buffer.length, size - done)
    const { bytesRead } = await handle.read(buffer, 0, length, position + done)
    if (bytesRead === 0) break
    sum = crc32(buffer.subarray(0, bytesRead), sum)
    done += bytesRead
  }
  return sum
}
