/** Whether trying again can help: never (`permanent`), or with time (`transient`). */
export type ErrorKind = "permanent" | "transient"

/**
 * Whose trouble it is. The `archive`'s own, for example a foreign password: no other archive is hit. Or the `deployment`'s:
 * credentials, permissions, a store, a key service, a disk. That hits every archive of a project alike and ends when somebody
 * mends it, so it must not use up the attempts of a backlog.
 */
export type ErrorOwner = "archive" | "deployment"

/** Which of the things around an archive failed, where an error is the deployment's. */
export type Side = "source" | "destination" | "keys" | "vendor"

interface ErrorRow {
  readonly kind: ErrorKind
  readonly owner: ErrorOwner
  /** One sentence for the operator: what to do about it. */
  readonly remedy: string
}

/** Every failure that Unseal names. The code is the metric label, the log field, the dead letter's reason and the CLI's exit reason. */
export const ERROR_CODES = {
  ERR_JOB_INVALID: {
    kind: "permanent",
    owner: "archive",
    remedy:
      "the job or callback is malformed: compare it with the vendor's archive-status callback and submit it again",
  },
  ERR_NO_MATCHING_KEY: {
    kind: "permanent",
    owner: "archive",
    remedy:
      "put the private key of the certificate that was registered when the archive was recorded into the key directory, then redrive",
  },
  ERR_KEY_INVALID: {
    kind: "permanent",
    owner: "deployment",
    remedy: "replace the key file, or its .passphrase file, with one that openssl can read",
  },
  ERR_PASSWORD_INVALID: {
    kind: "permanent",
    owner: "archive",
    remedy: "take the password from the callback or from the vendor's REST API again, unchanged",
  },
  ERR_CIPHERTEXT_INVALID: {
    kind: "permanent",
    owner: "archive",
    remedy:
      "the object in the source store is damaged or not an encrypted archive: compare its size with the callback's",
  },
  ERR_NOT_MPEG_TS: {
    kind: "permanent",
    owner: "archive",
    remedy:
      "the password and the object do not belong together, or the object is not an encrypted archive: check the source key template",
  },
  ERR_DIGEST_MISMATCH: {
    kind: "permanent",
    owner: "archive",
    remedy: "the bytes differ from their announced digest: compare the object with the vendor's copy",
  },
  ERR_DESTINATION_EXISTS: {
    kind: "permanent",
    owner: "archive",
    remedy: "move the existing object away, or allow it to be replaced",
  },
  ERR_STORE_DENIED: {
    kind: "permanent",
    owner: "deployment",
    remedy: "check the credentials, the bucket or container, and the permissions of the store",
  },
  ERR_OBJECT_NOT_FOUND: {
    kind: "transient",
    owner: "archive",
    remedy: "the object is not in the source store yet: check the source store and its key templates",
  },
  ERR_OBJECT_INCOMPLETE: {
    kind: "transient",
    owner: "archive",
    remedy:
      "the object does not have the size that the callback announced: upload it again from the vendor's copy, or take it as it is with UNSEAL_ANNOUNCED_SIZE=record",
  },
  ERR_COMMIT_MISMATCH: {
    kind: "transient",
    owner: "deployment",
    remedy:
      "the store said that the archive was complete, and does not have it: look at the store; the archive is written again, and nothing was removed",
  },
  ERR_OBJECT_ARCHIVED: {
    kind: "transient",
    owner: "archive",
    remedy:
      "the object is in an archival storage class: restore it (S3 RestoreObject, Azure rehydration); it is looked for again meanwhile",
  },
  ERR_UPLOAD_GONE: {
    kind: "transient",
    owner: "archive",
    remedy:
      "the store no longer has the upload that was begun: the next attempt begins another; look for what aborts uploads (lifecycle rule, janitor)",
  },
  ERR_OBJECT_CHANGED: {
    kind: "transient",
    owner: "archive",
    remedy:
      "the object was replaced while it was read; the next attempt reads the new version from its beginning",
  },
  ERR_STORE_UNAVAILABLE: {
    kind: "transient",
    owner: "deployment",
    remedy: "the store did not answer as it should: check its health and the network",
  },
  ERR_STORE_BUSY: {
    kind: "transient",
    owner: "deployment",
    remedy:
      "the store asks for fewer requests (503 SlowDown, 429): fewer are sent until it accepts them again",
  },
  ERR_STORE_FULL: {
    kind: "transient",
    owner: "deployment",
    remedy: "the disk or the quota of the store is full: free some space; what waits goes on by itself",
  },
  ERR_KEY_SERVICE_UNAVAILABLE: {
    kind: "transient",
    owner: "deployment",
    remedy: "a private key could not be used at the moment: check the key directory or the key service",
  },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERROR_CODES

export interface UnsealErrorOptions {
  readonly cause?: unknown
  readonly retryAfterMs?: number | undefined
  readonly refused?: boolean | undefined
  readonly slow?: boolean | undefined
}

/** A failure with a code of the closed table. The message is a lowercase clause with the numbers that matter, and no secret. */
export class UnsealError extends Error {
  override readonly name = "UnsealError"
  readonly code: ErrorCode
  /** How long the store asks to be left alone, in milliseconds; only where its answer said so. */
  readonly retryAfterMs?: number
  /** The store answered this request with 401 or 403. A lone one among answers that are fine proves nothing yet. */
  readonly refused?: true
  /** The peer moved too little for minutes (store/pace.ts). The same request again would take as long. */
  readonly slow?: true
  /** Set by whoever knows which side the error came from; adapters do not. */
  side?: Side

  constructor(code: ErrorCode, message: string, options: UnsealErrorOptions = {}) {
    super(message, "cause" in options ? { cause: options.cause } : {})
    this.code = code
    if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs
    if (options.refused) this.refused = true
    if (options.slow) this.slow = true
  }

  get kind(): ErrorKind {
    return ERROR_CODES[this.code].kind
  }

  get owner(): ErrorOwner {
    return ERROR_CODES[this.code].owner
  }

  get remedy(): string {
    return ERROR_CODES[this.code].remedy
  }
}

/** Whether `error` is an `UnsealError`, of one of `codes` if any are given. */
export function isUnsealError(error: unknown, ...codes: ErrorCode[]): error is UnsealError {
  return error instanceof UnsealError && (codes.length === 0 || codes.includes(error.code))
}
