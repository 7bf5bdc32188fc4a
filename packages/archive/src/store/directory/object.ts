import { randomBytes } from "node:crypto"
import type { BigIntStats } from "node:fs"
import { open, readFile, rename, rm, stat, writeFile } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { z } from "zod"
import { UnsealError } from "../../errors.ts"
import type { StoredObject, WrittenPart } from "../contract.ts"
import { hasParts } from "./content.ts"
import { fileError, systemCode } from "./errors.ts"
import { isSameFile, metadataFileOf } from "./names.ts"

/** Only the user who decrypts may read recordings. Anyone else needs an explicit grant, by directory or ACL. */
export const FILE_MODE = 0o600

/** Identifies a version: replacing a file changes the inode, writing in place changes the time or the size. */
export const etagOf = (stats: BigIntStats): string => `${stats.ino}-${stats.size}-${stats.mtimeNs}`

/** Throws `ERR_STORE_DENIED` unless `directory` exists. It is never made: a wrong mount must not pass for an empty store. */
export async function checkDirectory(directory: string): Promise<void> {
  try {
    if ((await stat(directory)).isDirectory()) return
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw fileError(error, "stat", directory)
  }
  throw new UnsealError("ERR_STORE_DENIED", `directory ${directory} does not exist`, {
    remedy: "create or mount the directory, or correct the path",
  })
}

/** The object in file `target`, or `null` if there is none. */
export async function statFile(target: string, key: string): Promise<StoredObject | null> {
  try {
    const stats = await stat(target, { bigint: true })
    if (!stats.isFile()) return null
    const etag = etagOf(stats)
    return { key, size: Number(stats.size), etag, metadata: await readMetadata(target, etag) }
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(systemCode(error) ?? "")) return null
    throw fileError(error, "stat", target)
  }
}

async function readMetadata(target: string, etag: string): Promise<Readonly<Record<string, string>>> {
  let text: string
  try {
    text = await readFile(metadataFileOf(target, etag), "utf8")
  } catch (error) {
    if (systemCode(error) === "ENOENT") return {}
    throw error
  }
  return parseMetadata(text, target, etag)
}

const metadataSchema = z.object({
  etag: z.string(),
  metadata: z.record(z.string(), z.string()),
  partSize: z.number().int().positive(),
  /** Each part's CRC-32 in hex, and its size in bytes, in order. */
  parts: z.array(z.object({ tag: z.string(), size: z.number().int().positive() })),
})

/**
 * Metadata is bound to the version by its content, too: inode numbers are reused, and a copied directory keeps the names. A
 * second live run of one upload may still write a part, with the same bytes, after the first has made the file visible. That
 * changes the time, and then the bytes decide.
 */
async function parseMetadata(
  text: string,
  target: string,
  etag: string,
): Promise<Readonly<Record<string, string>>> {
  let file: z.output<typeof metadataSchema>
  try {
    file = metadataSchema.parse(JSON.parse(text))
  } catch {
    return {}
  }
  if (file.etag === etag) return file.metadata
  const parts = new Map(file.parts.map((part, index) => [index + 1, part]))
  return isSameFile(file.etag, etag) && (await hasParts(target, file.partSize, parts)) ? file.metadata : {}
}

/** Stores the metadata of version `etag` of `target` before that version becomes visible. */
export async function writeMetadata(
  target: string,
  etag: string,
  metadata: Readonly<Record<string, string>>,
  content: { readonly partSize: number; readonly parts: ReadonlyMap<number, WrittenPart> },
): Promise<void> {
  if (Object.keys(metadata).length === 0) return
  const parts = [...content.parts].sort(([a], [b]) => a - b).map(([, { tag, size }]) => ({ tag, size }))
  const file = metadataFileOf(target, etag)
  const temporary = join(dirname(file), `${basename(file)}.${randomBytes(4).toString("hex")}.new`)
  await writeFile(temporary, JSON.stringify({ etag, metadata, partSize: content.partSize, parts }), {
    mode: FILE_MODE,
    flush: true,
  })
  await rename(temporary, file)
}

export const removeMetadata = (target: string, etag: string): Promise<void> =>
  rm(metadataFileOf(target, etag), { force: true })

/** Removes the object in file `target`; `false` if there is none. */
export async function removeFile(target: string): Promise<boolean> {
  try {
    const stats = await stat(target, { bigint: true })
    if (!stats.isFile()) return false
    await rm(target)
    await removeMetadata(target, etagOf(stats))
    await syncDirectory(dirname(target))
    return true
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(systemCode(error) ?? "")) return false
    throw fileError(error, "remove", target)
  }
}

/** Makes links, renames and new files in `directory` survive a power failure, if the file system can. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, "r")
  try {
    await handle.sync()
  } catch (error) {
    if (!["EINVAL", "ENOTSUP", "EOPNOTSUPP", "EPERM", "EBADF"].includes(systemCode(error) ?? "")) throw error
  } finally {
    await handle.close()
  }
}

/** Whether anything exists at `path`, whatever its kind. */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(systemCode(error) ?? "")) return false
    throw error
  }
}
