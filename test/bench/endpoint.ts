/** The S3 endpoint of the bench (native/endpoint.c), started and controlled. */
import { execFile, spawn } from "node:child_process"
import { once } from "node:events"
import { mkdirSync, readdirSync, rmSync } from "node:fs"
import { request } from "node:http"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { Readable } from "node:stream"
import { pipeline } from "node:stream/promises"
import { promisify } from "node:util"
import type { Native } from "./native.ts"

/** How a client reaches the endpoint. */
export interface Origin {
  readonly url: string
  /** The certificate to trust, if it is https. */
  readonly certificateFile?: string
}

/** One object that was written, as the endpoint saw it. */
export interface WrittenObject {
  /** bucket/key */
  readonly key: string
  readonly size: number
  readonly crc32c: string
  /** Its parts in order, if bodies are kept. */
  readonly files: readonly string[]
}

export interface Written {
  readonly openUploads: number
  readonly objects: readonly WrittenObject[]
}

export interface Endpoint extends Origin {
  readonly secure: Required<Origin>
  /** Uploads an object of `size` bytes unchanged, as a reference. Resolves to what the endpoint saw. */
  put(key: string, size: number, body: AsyncIterable<Uint8Array>): Promise<WrittenObject>
  /** Delays every response and every new connection by this much, like the round trip to a distant store. */
  delay(ms: number): Promise<void>
  /** Whether bodies are kept as files until the next `forget`. */
  keep(on: boolean): Promise<void>
  /** All objects written since the last `forget`. */
  written(): Promise<Written>
  forget(): Promise<void>
  close(): Promise<void>
}

/** CRC-32C of "123456789", from the catalogues of CRCs. With a wrong checksum function, every output might seem right. */
const CHECK_VALUE = { text: "123456789", crc32c: "e3069283" }

export async function startEndpoint(
  native: Native,
  patternFile: string,
  directory: string,
): Promise<Endpoint> {
  const keepDirectory = join(directory, "kept")
  mkdirSync(keepDirectory)
  const [certificateFile, keyFile] = [join(directory, "tls-cert.pem"), join(directory, "tls-key.pem")]
  await promisify(execFile)("openssl", [
    ...["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"],
    ...["-addext", "subjectAltName=IP:127.0.0.1", "-out", certificateFile, "-keyout", keyFile],
  ])
  // It reads our stdin, so it ends when this process does.
  const child = spawn(native.endpoint, [patternFile, keepDirectory, certificateFile, keyFile], {
    stdio: ["pipe", "pipe", "inherit"],
  })
  const exited = once(child, "exit")
  const [line] = await Promise.race([once(createInterface({ input: child.stdout }), "line"), exited])
  const { port, tlsPort } = JSON.parse(String(line)) as { port: number; tlsPort: number }
  const url = `http://127.0.0.1:${port}`
  const control = async (path: string) => {
    const response = await fetch(`${url}/-/${path}`, { method: path === "objects" ? "GET" : "POST" })
    if (!response.ok) throw new Error(`the endpoint answered ${response.status} to ${path}`)
    return response.text()
  }

  const endpoint: Endpoint = {
    url,
    secure: { url: `https://127.0.0.1:${tlsPort}`, certificateFile },
    async put(key, size, body) {
      const upload = request(`${url}/${key}`, { method: "PUT", headers: { "content-length": size } })
      const answer = once(upload, "response")
      await pipeline(body, upload)
      const [response] = await answer
      response.resume()
      const object = (await endpoint.written()).objects.find((object) => object.key === key)
      if (object?.size !== size)
        throw new Error(`the endpoint got ${object?.size} bytes of ${key} instead of ${size}`)
      return object
    },
    delay: async (ms) => void (await control(`set?delayMs=${ms}`)),
    keep: async (on) => void (await control(`set?keep=${on ? 1 : 0}`)),
    async written() {
      const { openUploads, objects } = JSON.parse(await control("objects"))
      const path = (file: number) => join(keepDirectory, String(file))
      return {
        openUploads,
        objects: objects.map((object: { files: number[] }) => ({ ...object, files: object.files.map(path) })),
      }
    },
    async forget() {
      await control("reset")
      for (const name of readdirSync(keepDirectory)) rmSync(join(keepDirectory, name))
    },
    async close() {
      child.stdin.end()
      await exited
    },
  }
  const { text, crc32c } = CHECK_VALUE
  const checked = await endpoint.put("reference/check", text.length, Readable.from([Buffer.from(text)]))
  if (checked.crc32c !== crc32c)
    throw new Error(`the endpoint's CRC-32C of the check value is ${checked.crc32c}`)
  return endpoint
}
