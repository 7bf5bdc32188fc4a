import { AUTH_SCHEMES, type AuthScheme, PLATFORMS, type Platform } from "@unseal/vendor/platform"
import { type Command, Option } from "commander"

export interface VendorOptions {
  readonly project?: string
  readonly platform?: Platform
  readonly baseUrl?: string
  readonly auth?: AuthScheme
}

/** Adds the options of a command that uses the vendor's REST API. */
export const withVendor = (command: Command): Command =>
  command
    .option("--project <id>", "the OpenTok API key or Vonage application (or UNSEAL_PROJECT_ID)")
    .addOption(
      new Option(
        "--platform <name>",
        "the platform, if the id does not show it (or UNSEAL_PLATFORM)",
      ).choices(PLATFORMS),
    )
    .option("--base-url <url>", "the REST API's base URL, if not the platform's (or UNSEAL_API_URL)")
    .addOption(
      new Option(
        "--auth <scheme>",
        "how requests are authenticated, if not the platform's way (or UNSEAL_API_AUTH)",
      ).choices(AUTH_SCHEMES),
    )
