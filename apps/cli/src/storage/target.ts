import { readSecretFile } from "@unseal/service/settings/environment"
import { ConfigurationError } from "@unseal/service/settings/settings"
import type { AzureTarget, S3Target } from "@unseal/vendor/upload-target"
import { env } from "../config.ts"
import { UsageError } from "../terminal/exit.ts"

export interface TargetOptions {
  readonly bucket?: string
  readonly accessKey?: string
  readonly secretKeyFile?: string
  readonly endpoint?: string
  readonly sse?: "s3" | "none"
  readonly container?: string
  readonly accountName?: string
  readonly accountKeyFile?: string
  readonly domain?: string
}

const OPTIONS_OF = {
  s3: ["bucket", "accessKey", "secretKeyFile", "endpoint", "sse"],
  azure: ["container", "accountName", "accountKeyFile", "domain"],
} as const satisfies Record<string, (keyof TargetOptions)[]>

/**
 * The upload target from options and environment. Its secret comes from a file or from the SDK's own variable, never from the
 * arguments, which every user of the machine can see. Throws `UsageError` or `ConfigurationError` for missing or wrong values.
 */
export function readTarget(type: "s3" | "azure", options: TargetOptions): S3Target | AzureTarget {
  const strangers = OPTIONS_OF[type === "s3" ? "azure" : "s3"].filter((name) => options[name] !== undefined)
  if (strangers.length > 0)
    throw new UsageError(`${strangers.map(flagOf).join(", ")}: a target of type ${type} takes no such option`)
  return type === "s3" ? readS3Target(options) : readAzureTarget(options)
}

const flagOf = (name: string): string =>
  `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`

function readS3Target(options: TargetOptions): S3Target {
  const accessKey = options.accessKey ?? env.AWS_ACCESS_KEY_ID
  const secretKey = secretOf(options.secretKeyFile, "--secret-key-file", env.AWS_SECRET_ACCESS_KEY)
  if (!options.bucket) throw new UsageError("which bucket? give --bucket NAME")
  if (!accessKey)
    throw new UsageError("the access key is missing: give --access-key ID, or set AWS_ACCESS_KEY_ID")
  if (!secretKey)
    throw new UsageError(
      "the secret key is missing: give --secret-key-file FILE, or set AWS_SECRET_ACCESS_KEY",
    )
  if (env.AWS_SESSION_TOKEN && options.accessKey === undefined)
    throw new UsageError(
      "AWS_SESSION_TOKEN is set: these credentials are temporary, but the vendor needs permanent ones, of a user made for it",
    )
  if (options.endpoint !== undefined && !/^https?:\/\/[^/?#@\s]+\/?$/.test(options.endpoint))
    throw new UsageError(
      "--endpoint is not a base URL: protocol and host, as in https://storage.googleapis.com",
    )
  return {
    type: "s3",
    config: {
      bucket: options.bucket,
      accessKey,
      secretKey,
      ...(options.endpoint === undefined ? {} : { endpoint: options.endpoint }),
      ...(options.sse === undefined ? {} : { sse: options.sse }),
    },
  }
}

function readAzureTarget(options: TargetOptions): AzureTarget {
  const accountName = options.accountName ?? env.AZURE_STORAGE_ACCOUNT
  const accountKey = secretOf(options.accountKeyFile, "--account-key-file", env.AZURE_STORAGE_KEY)
  if (!options.container) throw new UsageError("which container? give --container NAME")
  if (!accountName)
    throw new UsageError("the account is missing: give --account-name NAME, or set AZURE_STORAGE_ACCOUNT")
  if (!accountKey)
    throw new UsageError(
      "the account's key is missing: give --account-key-file FILE, or set AZURE_STORAGE_KEY",
    )
  return {
    type: "azure",
    config: {
      accountName,
      accountKey,
      container: options.container,
      ...(options.domain === undefined ? {} : { domain: options.domain }),
    },
  }
}

function secretOf(
  path: string | undefined,
  label: string,
  otherwise: string | undefined,
): string | undefined {
  if (path === undefined) return otherwise
  const problems: string[] = []
  const secret = readSecretFile(path, label, problems)
  if (problems.length > 0) throw new ConfigurationError(problems)
  return secret
}
