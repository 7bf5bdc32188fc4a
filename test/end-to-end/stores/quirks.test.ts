/** A whole decryption with every quirk of the S3 server: the archive equals openssl's, or one sentence says why it can't. */
import { createHash, randomUUID, X509Certificate } from "node:crypto"
import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { decryptArchive } from "@unseal/archive/decrypt/archive"
import { createByteBudget } from "@unseal/archive/decrypt/budget"
import { createKeyRing, type KeyRing, parsePrivateKey } from "@unseal/archive/format/key-ring"
import { openStore } from "@unseal/archive/store/open"
import { readSmallObject, writeSmallObject } from "@unseal/archive/store/small-object"
import { createCertificate } from "@unseal/simulator/recording/openssl"
import { makeRecording } from "@unseal/simulator/recording/recording"
import { startS3Server } from "@unseal/simulator/s3/http/server"
import { QUIRK_NAMES, QUIRKS, type QuirkName } from "@unseal/simulator/s3/quirks/quirks"
import { afterAll, beforeAll, expect, test } from "vitest"
import { poisoned } from "../../harness/poisoned.ts"
import { DESTINATION_NAME, S3_CREDENTIAL, SOURCE_NAME, s3Stores } from "../../harness/stores.ts"

const MIB = 1024 * 1024
const PART = 6972 * 752
const SIZES = { "one part": 188 * 1000, "three parts": 12 * MIB + 16 } as const
const credentials = {
  accessKeyId: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
  secretAccessKey: S3_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
}
const never = new AbortController().signal

/** The sentence of an archive that can't be decrypted. */
const SENTENCES: Partial<Record<QuirkName, RegExp>> = {
  denied: /^no object under .* or the credentials can't see it: they lack the permission s3:ListBucket$/,
  archived: /is in the storage class GLACIER and can't be read before it is restored/,
  "redirect-307": /answered 307/,
  "expired-token": /answered 400 ExpiredToken: .*whoever issues them must renew them/,
  "weak-etags": /answered with the weak ETag W\/".*something between here and the store/,
  "no-etags": /answered without an ETag.*something between here and the store/,
  // The store's own tests cover the URL parameters that these ask for.
  "demands-sse-kms": /answered 403 AccessDenied/,
  "demands-acl": /answered 403 AccessDenied/,
  "demands-tagging": /answered 403 AccessDenied/,
  "demands-storage-class": /answered 403 AccessDenied/,
  "demands-owner": /or the credentials can't see it: they lack/,
  "requester-pays": /answered 403 AccessDenied.*s3:GetObject, and requestPayer=requester in the store's URL/,
}
/** Whose move it is in that case, as specific as the sentence. */
const DEMANDED = /the permission s3:PutObject .*name them in the store's URL/
const REMEDIES: Partial<Record<QuirkName, RegExp>> = {
  denied: /the permission s3:ListBucket/,
  archived: /restore the object/,
  "expired-token": /renew the credentials/,
  "demands-sse-kms": DEMANDED,
  "demands-acl": DEMANDED,
  "demands-tagging": DEMANDED,
  "demands-storage-class": DEMANDED,
  "demands-owner": /the permission s3:ListBucket/,
  "requester-pays": /the permission s3:GetObject .*requestPayer=requester/,
}
/** Sentences of archives of several parts only: the quirk does not affect a PutObject. */
const SENTENCES_OF_SEVERAL: Partial<Record<QuirkName, RegExp>> = {
  "complete-lost": /has nothing under/,
  "complete-short": /5242944/,
}

let directory: string
let keyRing: KeyRing
let publicKey: X509Certificate["publicKey"]
let sample: Buffer

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "unseal-quirks-"))
  const [certificateFile, keyFile] = [join(directory, "cert.pem"), join(directory, "key.pem")]
  await createCertificate({ certificateFile, keyFile })
  publicKey = new X509Certificate(await readFile(certificateFile)).publicKey
  keyRing = createKeyRing([parsePrivateKey(await readFile(keyFile), "key.pem")])
  sample = await readFile(join(import.meta.dirname, "../../vectors/audio-only-12s.mpegts"))
})
afterAll(() => rm(directory, { recursive: true }))

/** A server of the case's own: while one case's requests are repeated, others run. */
async function startServer(ends: AsyncDisposableStack) {
  const server = await startS3Server({ credentials: [credentials], buckets: [SOURCE_NAME, DESTINATION_NAME] })
  ends.defer(() => server.close())
  const open = async (url: string) => {
    const store = await openStore(url, { env: {}, partSizeBytes: PART, credentials })
    ends.defer(() => store.close())
    return poisoned(store)
  }
  return { server, open, urls: s3Stores(server.port) }
}

for (const quirk of QUIRK_NAMES)
  for (const [parts, size] of Object.entries(SIZES)) {
    const sentence = SENTENCES[quirk] ?? (size > PART ? SENTENCES_OF_SEVERAL[quirk] : undefined)
    const ending = sentence ? "says so, and publishes nothing" : "is decrypted as by openssl"
    test.concurrent(`an archive of ${parts} on a store that ${QUIRKS[quirk].meaning} ${ending} (${quirk})`, async () => {
      await using ends = new AsyncDisposableStack()
      const { server, open, urls } = await startServer(ends)
      const raw = { source: await open(urls.source), destination: await open(urls.destination) }
      const key = `${randomUUID()}/archive.ts`
      const tail = size % 188 === 0 ? "none" : "zero"
      const recording = makeRecording({ sample, publicKey, size, exact: true, tail })
      await writeSmallObject(raw.source, key, Buffer.concat([...recording.ciphertext]), "video/mp2t", never)

      server.quirks.add(quirk)
      // Concurrent requests share the first ten redirects, and might all outlast them. So the bucket stays new.
      const anew = quirk === "redirect-307" && server.operations.subscribe(() => server.quirks.add(quirk))
      if (anew) ends.defer(async () => anew())
      const ended = decryptArchive(
        {
          ...{ archiveId: randomUUID(), projectId: "123456", encryptedPassword: recording.encryptedPassword },
          // Not the first place to look.
          ...{ source: await open(urls.source), sourceKeys: [`elsewhere/${key}`, key] },
          ...{ destination: await open(urls.destination), destinationKey: key },
        },
        {
          ...{ keyRing, budget: createByteBudget(8 * PART), tail: "keep", digest: "sha256" },
          ...{ existing: "fail", record: true },
        },
        never,
      )
      if (sentence)
        await expect(ended).rejects.toMatchObject({
          message: expect.stringMatching(sentence),
          remedy: expect.stringMatching(REMEDIES[quirk] ?? /./),
        })
      else expect((await ended).outcome).toBe("committed")

      if (anew) anew()
      server.quirks.clear()
      const object = await raw.destination.stat(key, never)
      if (sentence && SENTENCES_OF_SEVERAL[quirk] === undefined) expect(object).toBeNull()
      if (sentence) return
      const bytes = await readSmallObject(raw.destination, object!, 2 * size, never)
      expect(createHash("sha256").update(bytes).digest("hex")).toBe(recording.digests().plaintext)
      expect(server.openUploads()).toEqual([])
    })
  }
