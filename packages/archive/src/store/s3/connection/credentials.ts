/** Where S3 credentials come from, and what it means if there are none. */
import type { S3ClientConfig } from "@aws-sdk/client-s3"
import { fromIni, fromNodeProviderChain } from "@aws-sdk/credential-providers"
import type { AdapterOptions } from "../../options.ts"

type Environment = AdapterOptions["env"]
type Provider = Extract<S3ClientConfig["credentials"], (...given: never) => unknown>

/**
 * Why no credentials are available, as a clause without a secret. An answer of their issuer may look like one of the store's: a
 * refused role would pass for a missing object.
 */
export class CredentialsError extends Error {
  override readonly name = "CredentialsError"
  /** Whether somebody must fix something: a profile's name, a role's trust, a login. Otherwise it may pass by itself. */
  readonly isWrong: boolean

  constructor(cause: unknown) {
    super(reasonOf(cause), { cause })
    this.isWrong = isWrong(cause)
  }
}

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))

function reasonOf(error: unknown): string {
  const words = wordsOf(error)
  // The command line may hold a secret, and so may its output.
  if (words.startsWith("Command failed: ")) return "the profile's credential_process failed"
  const { name, $metadata } = error as { name?: string; $metadata?: object }
  return $metadata === undefined || name === undefined || words.includes(name) ? words : `${name}: ${words}`
}

function isWrong(error: unknown): boolean {
  const { $metadata: answer } = error as { $metadata?: { httpStatusCode?: number } }
  return answer?.httpStatusCode === 403 || /using profile: \[|\baws sso login\b/.test(wordsOf(error))
}

/** How long the provider is not asked again. Otherwise each try of a request would wait for all the provider's own tries. */
const FAILURE_LASTS_MS = 1_000

/** The credentials of `profile`, or of the SDK's own chain. Files are read each time, because the SDK caches them for ever. */
export function createCredentials(profile: string | undefined, env: Environment): Provider {
  const provider = profile === undefined ? chainCredentials(env) : profileCredentials(profile, env)
  let failed: { readonly error: CredentialsError; readonly at: number } | undefined
  return async (options) => {
    if (failed && performance.now() - failed.at < FAILURE_LASTS_MS) throw failed.error
    try {
      return await provider(options)
    } catch (cause) {
      const error = new CredentialsError(cause)
      failed = { error, at: performance.now() }
      throw error
    }
  }
}

const profileCredentials = (profile: string, env: Environment): Provider =>
  fromIni({
    profile,
    ignoreCache: true,
    ...(env.AWS_SHARED_CREDENTIALS_FILE ? { filepath: env.AWS_SHARED_CREDENTIALS_FILE } : {}),
    ...(env.AWS_CONFIG_FILE ? { configFilepath: env.AWS_CONFIG_FILE } : {}),
  })

function chainCredentials(env: Environment): Provider {
  const chain = fromNodeProviderChain({ ignoreCache: true })
  return async (options) => {
    try {
      return await chain(options)
    } catch (error) {
      // The chain's final message hides that of the profile, even if the profile is at fault.
      if (env.AWS_PROFILE && /any providers/.test(wordsOf(error)))
        return profileCredentials(env.AWS_PROFILE, env)(options)
      throw error
    }
  }
}
