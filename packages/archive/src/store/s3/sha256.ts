import { createHash, createHmac, type Hash, type Hmac } from "node:crypto"

/** Node's SHA-256 and HMAC with the interface that the signer requires. */
export class Sha256 {
  readonly #secret: string | ArrayBuffer | ArrayBufferView | undefined
  #hash: Hash | Hmac

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#secret = secret
    this.#hash = this.#begin()
  }

  #begin(): Hash | Hmac {
    return this.#secret === undefined ? createHash("sha256") : createHmac("sha256", viewOf(this.#secret))
  }

  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(viewOf(data))
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest()
  }

  reset(): void {
    this.#hash = this.#begin()
  }
}

function viewOf(data: string | ArrayBuffer | ArrayBufferView): Uint8Array {
  if (typeof data === "string") return Buffer.from(data)
  return ArrayBuffer.isView(data)
    ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    : new Uint8Array(data)
}
