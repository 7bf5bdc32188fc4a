/**
 * The names of uploads and of their staged blocks. Azure has no upload ids: a blob's staged blocks belong to its name, whoever
 * staged them. So each of our block names states the upload, the part and the part's content, and an upload is the set of
 * blocks that name it. All names have the same length, as Azure requires of a blob's blocks.
 */
import { randomBytes } from "node:crypto"
import { type PartLimits, partSizeWithin } from "../part-size.ts"

/** Azure's limits for a block blob. */
const LIMITS: PartLimits = { store: "Azure", smallest: 1, largest: 4000 * 2 ** 20, most: 50_000 }

/** An upload's token, parsed. */
export interface AzureUpload {
  readonly token: string
  readonly startedAt: Date
  /** Bytes. */
  readonly partSize: number
}

/** The name of one of our staged blocks, parsed. */
export interface BlockName {
  readonly token: string
  readonly number: number
  /** The part's CRC-32, in hex. */
  readonly tag: string
}

/** The part size of an object of `size` bytes: `partSizeWithin` Azure's limits. */
export const partSizeFor = (size: number, preferred: number): number =>
  partSizeWithin(LIMITS, size, preferred)

/** Whether an object of `size` bytes fits into parts of `partSize` bytes. */
export function fits(size: number, partSize: number): boolean {
  return partSize > 0 && Math.ceil(size / partSize) <= LIMITS.most
}

/** `u1-<start in ms, 12 hex><random, 12 hex>-<part size, 8 hex>`. */
export function newToken(partSize: number, startedAt = new Date()): string {
  return `u1-${hex(startedAt.getTime(), 12)}${randomBytes(6).toString("hex")}-${hex(partSize, 8)}`
}

/** `null` if this adapter did not make the token. */
export function parseUpload(token: string): AzureUpload | null {
  const match = /^u1-([0-9a-f]{12})[0-9a-f]{12}-([0-9a-f]{8})$/.exec(token)
  if (match === null) return null
  return {
    token,
    startedAt: new Date(Number.parseInt(match[1] as string, 16)),
    partSize: Number.parseInt(match[2] as string, 16),
  }
}

/** The base64 of `<token>-<part number, 5 digits>-<CRC-32, 8 hex>`: 51 bytes of the 64 that Azure allows. */
export function blockId({ token, number, tag }: BlockName): string {
  return Buffer.from(`${token}-${String(number).padStart(5, "0")}-${tag}`).toString("base64")
}

/** `null` if another program staged the block. */
export function parseBlockId(id: string): BlockName | null {
  const match = /^(u1-[0-9a-f]{24}-[0-9a-f]{8})-([0-9]{5})-([0-9a-f]{8})$/.exec(
    Buffer.from(id, "base64").toString("latin1"),
  )
  if (match === null) return null
  return { token: match[1] as string, number: Number(match[2]), tag: match[3] as string }
}

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0")
