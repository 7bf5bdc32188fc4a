import { createHash } from "node:crypto"
import { basename, dirname, join } from "node:path"
import { UnsealError } from "../../errors.ts"

/** The hidden files of one upload. They lie beside its target, so that a link or a rename makes it visible. */
export interface UploadFiles {
  /** The bytes written so far. */
  readonly temporary: string
  /** One line for each part that is safely in `temporary`. */
  readonly journal: string
}

const UPLOAD_NAME = /^\.(.+)\.unseal-([0-9a-f]{16})(?:\.parts)?$/s

/** Whether `token` has this adapter's form. It becomes part of a file name, so nothing else is accepted. */
export const isToken = (token: string): boolean => /^[0-9a-f]{16}$/.test(token)

/** The file of `key`, a relative path with `/` whose segments are plain names. */
export function targetOf(directory: string, key: string): string {
  const plain =
    !key.includes("\0") &&
    key.split("/").every((segment) => segment !== "" && segment !== "." && segment !== "..")
  if (!plain)
    throw new UnsealError(
      "ERR_STORE_DENIED",
      `key ${JSON.stringify(key)} is not a relative path of plain names, so it has no place in file://${directory}`,
      { remedy: "correct the key, or its template" },
    )
  return join(directory, key)
}

export function uploadFilesOf(target: string, token: string): UploadFiles {
  const temporary = join(dirname(target), `.${basename(target)}.unseal-${token}`)
  return { temporary, journal: `${temporary}.parts` }
}

/** The target's name and the token, if `name` is the name of an upload's hidden file. */
export function parseUploadName(name: string): { name: string; token: string } | null {
  const match = UPLOAD_NAME.exec(name)
  return match ? { name: match[1]!, token: match[2]! } : null
}

/** The part of a version that stays when a file is overwritten in place with the same size. */
const inodeAndSizeOf = (etag: string): string => etag.slice(0, etag.lastIndexOf("-"))

/** Whether two versions belong to the same file, and so share their metadata. */
export const isSameFile = (a: string, b: string): boolean => inodeAndSizeOf(a) === inodeAndSizeOf(b)

/** The metadata of one file under `target`'s name. Each inode has its own, so that writing one can't harm another. */
export function metadataFileOf(target: string, etag: string): string {
  const version = createHash("sha256").update(inodeAndSizeOf(etag)).digest("hex").slice(0, 16)
  return join(dirname(target), `.${basename(target)}.unseal.${version}.json`)
}
