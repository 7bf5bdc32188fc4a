/** Archives that can't be decrypted, or not as they should be. */

import { createDecipheriv, createPublicKey, generateKeyPairSync, randomBytes } from "node:crypto"
import { encodePassword, wrapPassword } from "@unseal/archive/format/password"
import { inWorld, type Row, scaled } from "../row.ts"
import { readJobs } from "../world/jobs.ts"
import { type Expected, type Recorded, type Studio, sha256 } from "../world/recordings.ts"
import type { World } from "../world/world.ts"

interface Kind {
  readonly name: string
  make(studio: Studio): { recorded: Recorded; announced?: number; expected: Expected }
}

const SIZE = 6 * 1024 * 1024

/** The result that openssl would give, and Unseal must give. */
function decryptAsIs(studio: Studio, { encryptedPassword }: Recorded, ciphertext: Uint8Array): Expected {
  const { key, iv } = studio.secretsOf(encryptedPassword)
  const decipher = createDecipheriv("aes-256-cbc", key, iv).setAutoPadding(false)
  return { output: new Set([sha256(Buffer.concat([decipher.update(ciphertext), decipher.final()]))]) }
}

const withPassword = (recorded: Recorded, encryptedPassword: string): Recorded => ({
  ...recorded,
  encryptedPassword,
})

/** Encrypts any bytes as a password for the studio's own certificate. */
const wrapped = (studio: Studio, password: Uint8Array): string =>
  wrapPassword(password, createPublicKey(studio.privateKeyPem))

const KINDS: readonly Kind[] = [
  {
    name: "foreign password",
    make(studio) {
      const { publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 })
      const password = encodePassword({ key: randomBytes(32), iv: randomBytes(16) })
      return {
        recorded: withPassword(studio.record(SIZE), wrapPassword(password, publicKey)),
        expected: { deadLetter: "ERR_NO_MATCHING_KEY" },
      }
    },
  },
  {
    name: "unknown header bytes",
    make(studio) {
      const password = encodePassword({ key: randomBytes(32), iv: randomBytes(16) })
      password[0] = 9
      return {
        recorded: withPassword(studio.record(SIZE), wrapped(studio, password)),
        expected: { deadLetter: "ERR_PASSWORD_INVALID" },
      }
    },
  },
  {
    name: "password of a wrong length",
    make: (studio) => ({
      recorded: withPassword(
        studio.record(SIZE),
        wrapped(studio, Buffer.from([1, 1, 1, ...randomBytes(47)])),
      ),
      expected: { deadLetter: "ERR_PASSWORD_INVALID" },
    }),
  },
  {
    name: "right RSA, wrong AES key",
    make: (studio) => ({
      recorded: withPassword(
        studio.record(SIZE),
        wrapped(studio, encodePassword({ key: randomBytes(32), iv: randomBytes(16) })),
      ),
      expected: { deadLetter: "ERR_NOT_MPEG_TS" },
    }),
  },
  {
    name: "size not a multiple of 16",
    make(studio) {
      const recorded = studio.record(SIZE)
      return {
        recorded: { ...recorded, ciphertext: recorded.ciphertext.subarray(0, recorded.size - 5) },
        expected: { deadLetter: "ERR_CIPHERTEXT_INVALID" },
      }
    },
  },
  {
    name: "0 bytes where the callback announced more",
    make: (studio) => ({
      recorded: { ...studio.record(SIZE), ciphertext: Buffer.alloc(0) },
      expected: { deadLetter: "ERR_CIPHERTEXT_INVALID" },
    }),
  },
  {
    name: "0 bytes, announced",
    make: (studio) => ({
      recorded: { ...studio.record(SIZE), ciphertext: Buffer.alloc(0) },
      announced: 0,
      expected: { output: new Set([sha256(Buffer.alloc(0))]) },
    }),
  },
  {
    name: "truncated at a block",
    make(studio) {
      const recorded = studio.record(SIZE)
      const ciphertext = recorded.ciphertext.subarray(0, recorded.size - 16_000)
      return { recorded: { ...recorded, ciphertext }, expected: decryptAsIs(studio, recorded, ciphertext) }
    },
  },
  {
    name: "a bit flipped in the middle",
    make(studio) {
      const recorded = studio.record(SIZE)
      const ciphertext = Buffer.from(recorded.ciphertext)
      ciphertext[3_000_000]! ^= 4
      return { recorded: { ...recorded, ciphertext }, expected: decryptAsIs(studio, recorded, ciphertext) }
    },
  },
]

export const unreadable: Row = {
  name: "unreadable",
  fault: KINDS.map(({ name }) => name).join(", "),
  demand:
    "dead letter with its own code after one attempt, no upload begun; else exactly what openssl makes of it",
  run: (options) =>
    inWorld(options, { workers: 1 }, async (world) => {
      const rounds = scaled(5, options)
      for (let round = 0; round < rounds; round++)
        for (const kind of KINDS) {
          const { recorded, expected, announced } = kind.make(world.studio)
          const archive = world.track(recorded, expected)
          await world.upload(archive.sourceKey, recorded.ciphertext)
          await world.call({ ...archive, size: announced ?? archive.size })
        }
      await world.settled(60_000)
      const jobs = await readJobs(world)
      return {
        runs: `${KINDS.length} kinds × ${rounds}`,
        measured: `${jobs.filter(({ state }) => state === "failed").length} dead letters, ${jobs.filter(({ state }) => state === "completed").length} outputs`,
        failures: [
          ...jobs
            .filter(({ starts }) => starts !== 1)
            .map(({ jobId, starts }) => `${jobId} was started ${starts} times`),
          ...uploadsOfDeadLetters(world),
        ],
      }
    }),
}

function uploadsOfDeadLetters(world: World): string[] {
  const dead = new Set(
    world.answers.flatMap(({ archive }) =>
      typeof archive.expected === "object" && "deadLetter" in archive.expected
        ? [archive.destinationKey]
        : [],
    ),
  )
  return world.history.entries.flatMap((entry) =>
    entry.kind === "store" && dead.has(entry.operation.key) && entry.operation.operation !== "HeadObject"
      ? [`${entry.operation.operation} of ${entry.operation.key}, which is a dead letter`]
      : [],
  )
}
