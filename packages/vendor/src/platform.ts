/** The two platforms of the vendor: OpenTok (legacy) and Vonage Video (unified). */
export type Platform = "opentok" | "vonage"

export const PLATFORMS = ["opentok", "vonage"] as const satisfies Platform[]

/**
 * How a request authenticates: `opentok` (the header `X-OPENTOK-AUTH` with a JWT signed with the API secret), `vonage` (a
 * bearer JWT signed with the application's private key) or `basic` (the project id and the API secret, RFC 7617).
 */
export type AuthScheme = "opentok" | "vonage" | "basic"

export const AUTH_SCHEMES = ["opentok", "vonage", "basic"] as const satisfies AuthScheme[]

/** The differences between the platforms. Each can be overridden, because the vendor's own pages disagree. */
export interface PlatformDefaults {
  readonly baseUrl: string
  readonly auth: AuthScheme
  /** The value of `fallback` that keeps an archive in the vendor's storage when its upload fails. */
  readonly fallbackWord: string
}

/** The defaults of each platform: OpenTok's REST API reference, and Vonage Video's guides. */
export const PLATFORM_DEFAULTS: Readonly<Record<Platform, PlatformDefaults>> = {
  opentok: { baseUrl: "https://api.opentok.com", auth: "opentok", fallbackWord: "opentok" },
  vonage: { baseUrl: "https://video.api.vonage.com", auth: "vonage", fallbackWord: "opentok" },
}
