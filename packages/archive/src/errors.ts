/** Whether trying again can help: never (`permanent`), or with time (`transient`). */
export type ErrorKind = "permanent" | "transient"

/**
 * Whose trouble it is. Trouble of the `archive`, for example a foreign password, affects no other archive. Trouble of the
 * `deployment` (credentials, permissions, a store, a key service, a disk) affects all archives of a project alike and ends when
 * somebody fixes it, so it must not use up the attempts of a backlog.
 */
export type ErrorOwner = "archive" | "deployment"

/** What failed around an archive, for errors of the deployment. */
export type Side = "source" | "destination" | "keys" | "vendor"

interface ErrorRow {
  readonly kind: ErrorKind
  readonly owner: ErrorOwner
  /** What happened, as a clause. */
  readonly meaning: string
  /**
   * Whose move it is, and what that move is, as a clause. What is done by hand after the cause is fixed comes last: `, then
   * redrive`.
   */
  readonly remedy: string
}

/**
 * Every failure that Unseal names. The code is the metric label, the log field, the dead letter's reason and the CLI's exit
 * reason.
 */
export const ERROR_CODES = {
  ERR_JOB_INVALID: {
    kind: "permanent",
    owner: "archive",
    meaning:
      "the job or the callback is malformed or damaged, or belongs to a project that is not configured here",
    remedy:
      "if its project is missing, add it to the projects file and redrive; if it is malformed, compare it with the vendor's archive-status callback, then submit it again",
  },
  ERR_NO_MATCHING_KEY: {
    kind: "permanent",
    owner: "archive",
    meaning: "no private key of the project unwraps the password",
    remedy:
      "put the private key into the project's key directory (its certificate is the one that was registered when the archive was recorded), then redrive",
  },
  ERR_KEY_INVALID: {
    kind: "permanent",
    owner: "deployment",
    meaning:
      "a key or certificate file can't be used: it is damaged, in another format, or its passphrase is missing or wrong",
    remedy: "replace the key file, or the .passphrase file beside it, with one that openssl can read",
  },
  ERR_PASSWORD_INVALID: {
    kind: "permanent",
    owner: "archive",
    meaning:
      "the password is not in the vendor's format: it is empty, cut short, not base64, or of an unknown version",
    remedy: "take the password unchanged from the callback or the vendor's REST API, then submit it again",
  },
  ERR_CIPHERTEXT_INVALID: {
    kind: "permanent",
    owner: "archive",
    meaning:
      "the object can't be an intact encrypted archive: it is empty, cut short, not encrypted, larger than the store or the memory allows, or has more damaged packets than UNSEAL_MAX_DAMAGE accepts",
    remedy:
      "compare its size with the callback's, and upload it again from the vendor's copy; if the message counts damaged packets, a higher UNSEAL_MAX_DAMAGE accepts them, then redrive",
  },
  ERR_NOT_MPEG_TS: {
    kind: "permanent",
    owner: "archive",
    meaning:
      "the decrypted bytes are not MPEG-TS: the password belongs to another object, or the object is not an encrypted archive",
    remedy: "check that the source key templates lead to this archive's own object, then redrive",
  },
  ERR_DIGEST_MISMATCH: {
    kind: "permanent",
    owner: "archive",
    meaning: "neither the ciphertext nor the plaintext has the SHA-256 that the callback announced",
    remedy:
      "compare the object with the vendor's copy and upload it again if they differ, or accept it with UNSEAL_ANNOUNCED_DIGEST=record, then redrive",
  },
  ERR_DESTINATION_EXISTS: {
    kind: "permanent",
    owner: "archive",
    meaning: "the destination key holds an object that was not made from this archive",
    remedy: "move the existing object away, or set UNSEAL_EXISTING=replace to have it replaced, then redrive",
  },
  ERR_STORE_DENIED: {
    kind: "permanent",
    owner: "deployment",
    meaning:
      "the store refuses access: the credentials are wrong, a permission is missing, or there is no such bucket, container or directory",
    remedy:
      "check the credentials, the name of the bucket, container or directory, and the permissions (docs/permissions.md)",
  },
  ERR_OBJECT_NOT_FOUND: {
    kind: "transient",
    owner: "archive",
    meaning: "none of the source keys holds an object yet",
    remedy:
      "check that the vendor uploads to this source, and that the source key templates match the names it uses",
  },
  ERR_OBJECT_INCOMPLETE: {
    kind: "transient",
    owner: "archive",
    meaning:
      "the object does not have the size that the callback announced, and UNSEAL_ANNOUNCED_SIZE=require insists on it",
    remedy:
      "upload the object again from the vendor's copy, or accept it as it is with UNSEAL_ANNOUNCED_SIZE=record",
  },
  ERR_COMMIT_MISMATCH: {
    kind: "transient",
    owner: "deployment",
    meaning: "the store confirmed the object, but then the object was missing or had another size or content",
    remedy:
      "find out why the store, or something in front of it, loses or changes what it has confirmed; nothing was removed, and the archive is written again",
  },
  ERR_OBJECT_ARCHIVED: {
    kind: "transient",
    owner: "archive",
    meaning: "the object is in an archival storage class, where it can't be read",
    remedy: "restore the object (S3 RestoreObject, Azure rehydration) within 72 hours",
  },
  ERR_UPLOAD_GONE: {
    kind: "transient",
    owner: "archive",
    meaning: "the store no longer has the upload that this archive began",
    remedy:
      "nothing at first: the next attempt starts a new upload; if it happens again, find out what aborts uploads (a lifecycle rule, a janitor)",
  },
  ERR_OBJECT_CHANGED: {
    kind: "transient",
    owner: "archive",
    meaning: "the object was replaced while it was being read",
    remedy:
      "nothing at first: the next attempt reads the new version from the start; if it happens again, find out what keeps writing to the source",
  },
  ERR_STORE_UNAVAILABLE: {
    kind: "transient",
    owner: "deployment",
    meaning: "the store can't be reached, or does not answer as it should",
    remedy: "check the store's health, and the network, name server and proxies on the way to it",
  },
  ERR_STORE_BUSY: {
    kind: "transient",
    owner: "deployment",
    meaning: "the store asks for fewer requests (503 SlowDown, 429)",
    remedy:
      "nothing at first: Unseal sends fewer requests until the store accepts more; if it lasts, raise the store's limit",
  },
  ERR_STORE_FULL: {
    kind: "transient",
    owner: "deployment",
    meaning: "the store's disk or quota is full",
    remedy: "free some space, or raise the quota",
  },
  ERR_KEY_SERVICE_UNAVAILABLE: {
    kind: "transient",
    owner: "deployment",
    meaning:
      "a private key can't be used at the moment: the key directory or key service is unreachable, empty or unreadable",
    remedy: "check the project's key directory, its mount and its permissions, or the key service",
  },
} as const satisfies Record<string, ErrorRow>

export type ErrorCode = keyof typeof ERROR_CODES

export interface UnsealErrorOptions {
  readonly cause?: unknown
  readonly retryAfterMs?: number | undefined
  readonly refused?: boolean | undefined
  readonly slow?: boolean | undefined
  readonly silent?: boolean | undefined
  readonly remedy?: string | undefined
}

/** A failure with a code of the closed table. The message is a lowercase clause with the numbers that matter, and no secret. */
export class UnsealError extends Error {
  override readonly name = "UnsealError"
  readonly code: ErrorCode
  /** How long the store asks to be left alone, in milliseconds, if its answer says so. */
  readonly retryAfterMs?: number
  /** The store answered this request with 401 or 403. A single such answer among successes proves nothing yet. */
  readonly refused?: true
  /** The peer moved too little (store/http/pace.ts). Repeating the request would take as long. */
  readonly slow?: true
  /** The peer moved nothing until the limit of silence. It may be the connection's fault, so the request is repeated once. */
  readonly silent?: true
  /** A remedy for this one failure, if more is known than its code says: which permission, which profile. */
  readonly ownRemedy?: string
  /** Set by callers that know which side the error came from. Adapters don't. */
  side?: Side

  constructor(code: ErrorCode, message: string, options: UnsealErrorOptions = {}) {
    super(message, "cause" in options ? { cause: options.cause } : {})
    this.code = code
    if (options.retryAfterMs !== undefined) this.retryAfterMs = options.retryAfterMs
    if (options.refused) this.refused = true
    if (options.slow) this.slow = true
    if (options.silent) this.silent = true
    if (options.remedy !== undefined) this.ownRemedy = options.remedy
  }

  get kind(): ErrorKind {
    return ERROR_CODES[this.code].kind
  }

  get owner(): ErrorOwner {
    return ERROR_CODES[this.code].owner
  }

  get remedy(): string {
    return this.ownRemedy ?? ERROR_CODES[this.code].remedy
  }
}

/** Whether `error` is an `UnsealError`, with one of `codes` if any are given. */
export function isUnsealError(error: unknown, ...codes: ErrorCode[]): error is UnsealError {
  return error instanceof UnsealError && (codes.length === 0 || codes.includes(error.code))
}
