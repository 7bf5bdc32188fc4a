import {
  choice,
  type Environment,
  integer,
  logLevel,
  readSettings,
  text,
  url,
} from "@unseal/service/settings"
import { z } from "zod"

/** The environment, for the stores' and SDKs' own names. */
export const env: Environment = process.env

/** The settings of a command that works on one archive. Throws `ConfigurationError`. */
export const readArchiveSettings = () =>
  readSettings(
    "cli",
    z.object({
      UNSEAL_TAIL: choice(["keep", "trim"]),
      UNSEAL_OAEP_HASH: choice(["sha1", "sha256", "sha384", "sha512"]),
    }),
    env,
  )

/** The settings of a command that works on the queue. Throws `ConfigurationError`. */
export const readQueueSettings = () =>
  readSettings(
    "cli",
    z.object({
      REDIS_URL: url(["redis", "rediss"]),
      UNSEAL_QUEUE: text(),
      UNSEAL_ATTEMPTS: integer({ min: 1, max: 1_000 }),
      LOG_LEVEL: logLevel(),
    }),
    env,
  )
