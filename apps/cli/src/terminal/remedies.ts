/** Remedies for somebody at a terminal, where there is no worker that retries, and no job to redrive. */
import type { ErrorCode, UnsealError } from "@unseal/archive/errors"
import { type HttpsTrouble, HttpsTroubleError } from "@unseal/archive/store/https/trouble"

const AT_A_TERMINAL: Readonly<Partial<Record<ErrorCode, string>>> = {
  ERR_JOB_INVALID: "compare the callback with the one that the vendor sent",
  ERR_NO_MATCHING_KEY:
    "give the private key of the certificate that was registered when the archive was recorded: --key FILE, which may be repeated",
  ERR_KEY_INVALID:
    "give a private key that openssl can read; its passphrase comes from --passphrase-file FILE, or from NAME.passphrase beside NAME.pem",
  ERR_PASSWORD_INVALID: "take the password unchanged from the callback or the vendor's REST API",
  ERR_CIPHERTEXT_INVALID:
    "fetch the archive again, and compare its size with the callback's; if the message counts damaged packets, a higher --max-damage PERCENT (or UNSEAL_MAX_DAMAGE) accepts them",
  ERR_NOT_MPEG_TS: "check that the password and the source belong to the same archive",
  ERR_DIGEST_MISMATCH: "compare the source with the vendor's copy, and fetch it again if they differ",
  ERR_DESTINATION_EXISTS: "move the existing object away, or give --overwrite",
  ERR_OBJECT_NOT_FOUND: "check the name of the source; if the archive is yet to come, try again later",
  ERR_OBJECT_INCOMPLETE:
    "fetch the archive again; without --require-size, and without UNSEAL_ANNOUNCED_SIZE=require, it is decrypted as it is",
  ERR_COMMIT_MISMATCH:
    "find out why the destination, or something in front of it, loses or changes what it has confirmed, then run the command again; nothing was removed",
  ERR_OBJECT_ARCHIVED: "restore the object (S3 RestoreObject, Azure rehydration), then run the command again",
  ERR_UPLOAD_GONE:
    "run the command again; if it happens again, find what aborts uploads (a lifecycle rule, a janitor)",
  ERR_OBJECT_CHANGED: "run the command again: it reads the new version from the start",
  ERR_STORE_BUSY: "run the command again in a minute",
  ERR_STORE_FULL: "free some space, or write somewhere else, then run the command again",
  ERR_KEY_SERVICE_UNAVAILABLE: "check UNSEAL_KEYS, or give the key with --key FILE",
}

const OF_HTTPS: Readonly<Record<HttpsTrouble, string>> = {
  authority:
    "if you trust the host, put the certificate of its authority into a file and run the command again with NODE_EXTRA_CA_CERTS=FILE",
  "certificate-expired":
    "check this machine's clock; if it is right, whoever runs the host must renew its certificate",
  "certificate-name": "use the host name that the certificate was issued for",
  forbidden: "use the https URL that the archive is served from",
  "refuses-connections": "check the host and the port of the URL, and whether its server runs",
  "unknown-host": "check the host name in the URL, and this machine's DNS",
  "no-ranges": "download the archive first (curl -fLo FILE URL), then give FILE as the source",
  page: "open the URL in a browser: it may be a login or a share page; use the URL that downloads the archive itself",
  redirect: "use the https URL that the archive is served from",
  url: "get a new URL and run the command again: a signed one is valid for minutes; put it in quotes, so that the shell keeps what follows an &",
}

/** The remedy of `error` for somebody at a terminal. */
export function remedyAtTerminal(error: UnsealError): string {
  if (error.cause instanceof HttpsTroubleError) return OF_HTTPS[error.cause.trouble]
  if (error.ownRemedy !== undefined) return error.ownRemedy
  if (error.code === "ERR_STORE_DENIED" && error.message.startsWith("https://"))
    return "check the URL: a signed one is valid for minutes"
  return AT_A_TERMINAL[error.code] ?? error.remedy
}
