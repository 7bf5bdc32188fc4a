import { send, signed } from "../../s3-server/signed-request.ts"

export interface RawBucket {
  put(key: string, bytes: Uint8Array, metadata?: Readonly<Record<string, string>>): Promise<void>
  get(key: string): Promise<Uint8Array | null>
  remove(key: string): Promise<void>
}

interface RawTarget {
  readonly endpoint: string
  readonly bucket: string
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** A bucket accessed by plain HTTP, so that neither the adapter nor its SDK vouches for itself. */
export function rawBucket(target: RawTarget): RawBucket {
  async function request(method: string, key: string, headers: Record<string, string> = {}, body?: Buffer) {
    const path = `/${target.bucket}/${key.split("/").map(encode).join("/")}`
    const plain = { method, path, headers, ...(body && { body }) }
    const response = await send(target.endpoint, await signed(target.endpoint, plain, target))
    if (response.status >= 300 && response.status !== 404)
      throw new Error(`${method} ${path} answered ${response.status} ${response.code}`)
    return response
  }
  return {
    async put(key, bytes, metadata = {}) {
      const entries = Object.entries(metadata).map(([name, value]) => [`x-amz-meta-${name}`, value])
      const headers = { ...Object.fromEntries(entries), "content-length": String(bytes.length) }
      await request("PUT", key, headers, Buffer.from(bytes))
    },
    async get(key) {
      const { status, body } = await request("GET", key)
      return status === 404 ? null : body
    },
    async remove(key) {
      await request("DELETE", key)
    },
  }
}

const encode = (text: string): string =>
  encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  )
