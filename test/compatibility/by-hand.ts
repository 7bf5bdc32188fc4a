/** `unseal decrypt` between two keys of a server, compared with the openssl command. */
import { X509Certificate } from "node:crypto"
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { createCertificate, decryptByOpenssl } from "@unseal/simulator/recording/openssl"
import { makeRecording } from "@unseal/simulator/recording/recording"
import { expect } from "vitest"
import { rawBucket } from "../conformance/s3/raw.ts"
import { expectSameBytes } from "../conformance/suite/bytes.ts"
import { runCli } from "../harness/process.ts"
import { createBucket, type ForeignS3 } from "./foreign-store.ts"

const SAMPLE = join(import.meta.dirname, "../vectors/audio-only-12s.mpegts")
/** Three parts of the usual size, and some. */
const SIZE = 27_000_000

/** `endpoint` is where the command goes to instead of `server`'s own, with `env` added to its environment. */
export async function decryptByHand(
  server: ForeignS3,
  endpoint = server.endpoint,
  env: Readonly<Record<string, string>> = {},
): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), "unseal-by-hand-"))
  try {
    const at = (name: string) => join(directory, name)
    const files = { certificateFile: at("cert.pem"), keyFile: at("key.pem") }
    await createCertificate(files)
    const { publicKey } = new X509Certificate(await readFile(files.certificateFile))
    const sample = await readFile(SAMPLE)
    const recording = makeRecording({ sample, publicKey, size: SIZE, tail: "pkcs7" })
    const ciphertext = Buffer.concat([...recording.ciphertext])
    await writeFile(at("archive.enc"), ciphertext)
    const bucket = "by-hand"
    await createBucket(server, bucket)
    const raw = rawBucket({ ...server, bucket })
    await raw.put("encrypted/archive.ts", ciphertext)

    const query = new URLSearchParams({ endpoint, region: "us-east-1", pathStyle: "true" })
    const [source, destination] = ["encrypted", "decrypted"].map(
      (folder) => `s3://${bucket}/${folder}/archive.ts?${query}`,
    ) as [string, string]
    const { encryptedPassword } = recording
    const { code, stderr, stdout } = await runCli(
      [
        ...["decrypt", source, destination, "--password", encryptedPassword, "--key", files.keyFile],
        ...["--digest", "--json"],
      ],
      {
        env: {
          AWS_ACCESS_KEY_ID: server.accessKeyId,
          AWS_SECRET_ACCESS_KEY: server.secretAccessKey,
          ...env,
        },
      },
    )
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" })
    expect(stdout.toString("utf8")).toContain(recording.digests().plaintext)

    const given = { source: at("archive.enc"), destination: at("archive.ts") }
    await decryptByOpenssl({ encryptedPassword, keyFile: files.keyFile, ...given })
    expectSameBytes(await raw.get("decrypted/archive.ts"), await readFile(at("archive.ts")))
  } finally {
    await rm(directory, { recursive: true })
  }
}
