import { constants } from "node:fs"
import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { addAbortSignal, type Readable } from "node:stream"
import { counted } from "@unseal/archive/counted"
import { isUnsealError, UnsealError } from "@unseal/archive/errors"
import type { ArchiveSource, OpenedStore } from "@unseal/archive/store/contract"
import { fileError } from "@unseal/archive/store/directory/errors"
import { openInTwo } from "@unseal/archive/store/open-in-two"

const READ_SIZE = 512 * 1024

/** A pipe's name in messages, and how to report its progress. */
export interface Spooling {
  readonly name: string
  readonly input: Readable
  onBytes?(done: number): void
}

/**
 * Copies a pipe to a temporary file. Its size must be known, and the first packets checked, before the first byte of plaintext
 * leaves, and a pipe allows neither. The file loses its name as soon as it is open, so that nothing is left however the process
 * ends. Throws `ERR_STORE_FULL` if the temporary folder is too small.
 */
export async function spool(
  { name, input, onBytes }: Spooling,
  signal: AbortSignal,
): Promise<{ store: OpenedStore; key: string }> {
  const handle = await openNameless()
  let size = 0
  try {
    // Ctrl-C must end a silent pipe, too.
    addAbortSignal(signal, input)
    for await (const chunk of input as AsyncIterable<Buffer>) {
      signal.throwIfAborted()
      await handle.writeFile(chunk)
      size += chunk.length
      onBytes?.(size)
    }
    signal.throwIfAborted()
    return { key: name, store: spoolStore(name, handle, size) }
  } catch (error) {
    await handle.close()
    const translated = fileError(error, "write", join(tmpdir(), "unseal"), signal)
    if (!isUnsealError(translated, "ERR_STORE_FULL")) throw translated
    throw new UnsealError(
      "ERR_STORE_FULL",
      `${name} does not fit in the temporary folder ${tmpdir()}, which was full after ${size} bytes: set TMPDIR to a larger one, or name the file itself`,
      { cause: error },
    )
  }
}

async function openNameless(): Promise<FileHandle> {
  const directory = await mkdtemp(join(tmpdir(), "unseal-")).catch((error) => {
    throw fileError(error, "create", join(tmpdir(), "unseal"))
  })
  try {
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL
    return await open(join(directory, "input"), flags, 0o600)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

function spoolStore(name: string, handle: FileHandle, size: number): OpenedStore {
  const object = { key: name, size, etag: "spooled", metadata: {} }
  const readOnly = async () => {
    throw new UnsealError("ERR_STORE_DENIED", `${name} can't be written`)
  }
  const source: Pick<ArchiveSource, "stat" | "read"> = {
    stat: async (key) => (key === name ? object : null),
    async *read(_, { start, end }, signal) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(READ_SIZE, end - start))
      for (let at = start; at < end; ) {
        signal.throwIfAborted()
        const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, end - at), at)
        if (bytesRead === 0)
          throw new UnsealError(
            "ERR_STORE_UNAVAILABLE",
            `${name} gave ${counted(at, "byte")} instead of ${end}`,
          )
        at += bytesRead
        yield buffer.subarray(0, bytesRead)
      }
    },
  }
  return {
    ...source,
    location: name,
    partSizeFor: () => READ_SIZE,
    open: (key, length, signal) => openInTwo(source, key, length, signal),
    openUploads: async function* () {},
    abortUpload: readOnly,
    remove: readOnly,
    create: readOnly,
    close: () => handle.close(),
  }
}
