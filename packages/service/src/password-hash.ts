/** Hashes of passwords, for a file that many may read. */
import { randomBytes, type ScryptOptions, scrypt, timingSafeEqual } from "node:crypto"
import { promisify } from "node:util"

const derive = promisify<Buffer | string, Buffer, number, ScryptOptions, Buffer>(scrypt)

/** 32 MiB and a quarter of a second for each guess: of the parameters that OWASP rates as equal, these fit a small container. */
const COST: Cost = { N: 2 ** 15, r: 8, p: 3 }
const HASH_BYTES = 32
const SALT_BYTES = 16
const FORM = /^scrypt\$(\d{1,7})\$(\d{1,2})\$(\d{1,2})\$([\w-]{16,64})\$([\w-]{43})$/

/** The parameters of scrypt. */
export interface Cost {
  readonly N: number
  readonly r: number
  readonly p: number
}

/** `scrypt$N$r$p$SALT$HASH`, with salt and hash in base64url. It contains no colon. */
export async function hashPassword(password: Buffer, cost: Cost = COST): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const hash = await derive(password, salt, HASH_BYTES, withMemory(cost))
  const { N, r, p } = cost
  return ["scrypt", N, r, p, salt.toString("base64url"), hash.toString("base64url")].join("$")
}

/** Whether `text` is a hash that `isPasswordOf` can check, without more memory and time than it should take. */
export function isPasswordHash(text: string): boolean {
  const cost = parse(text)?.cost
  return (
    cost !== undefined &&
    Math.log2(cost.N) % 1 === 0 &&
    cost.N >= 2 ** 14 &&
    cost.N * cost.r <= 2 ** 20 &&
    cost.p >= 1 &&
    cost.p <= 16
  )
}

/** Whether `password` is that of `hash`, in the same time either way. Throws if `hash` is not a hash. */
export async function isPasswordOf(hash: string, password: Buffer): Promise<boolean> {
  const parsed = parse(hash)
  if (parsed === undefined) throw new Error("the text is not a hash of a password")
  const { cost, salt, expected } = parsed
  return timingSafeEqual(await derive(password, salt, HASH_BYTES, withMemory(cost)), expected)
}

function parse(text: string): { cost: Cost; salt: Buffer; expected: Buffer } | undefined {
  const [, N, r, p, salt, hash] = FORM.exec(text) ?? []
  if (hash === undefined) return undefined
  return {
    cost: { N: Number(N), r: Number(r), p: Number(p) },
    salt: Buffer.from(salt!, "base64url"),
    expected: Buffer.from(hash, "base64url"),
  }
}

/** Node's own limit is less than these parameters take. */
const withMemory = (cost: Cost): ScryptOptions => ({ ...cost, maxmem: 256 * cost.N * cost.r })
