/** Azure refuses account-key signatures from a clock that is 15 minutes off. The refusal states Azure's time. */
import { type BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob"
import type { StoreNotice } from "../notices.ts"

interface Headers {
  get(name: string): string | undefined
  set(name: string, value: string): void
}

interface Policy {
  readonly name: string
  sendRequest(
    request: { readonly headers: Headers },
    next: (request: unknown) => Promise<{ readonly status: number; readonly headers: Headers }>,
  ): Promise<unknown>
}

/** The internals of a client that accept a policy in front of the signing one. */
interface Insides {
  readonly storageClientContext: {
    readonly pipeline: {
      addPolicy(policy: Policy, options: { phase: "Sign"; beforePolicies: string[] }): void
    }
  }
}

/** The difference between clocks that is reported. Azure's own limit is 15 minutes. */
const SKEW_THAT_MATTERS_MS = 60_000

/**
 * Makes `service` sign by the store's clock once the store has refused this machine's, and repeats the refused request. Shared
 * access signatures and tokens don't contain this machine's time, so they are left alone.
 */
export function followClock(
  service: BlobServiceClient,
  notify: (notice: StoreNotice) => void,
): BlobServiceClient {
  if (!(service.credential instanceof StorageSharedKeyCredential)) return service
  let aheadMs = 0
  const { pipeline } = (service as unknown as Insides).storageClientContext
  pipeline.addPolicy(
    {
      name: "followClock",
      async sendRequest(request, next) {
        dateBy(request.headers, () => new Date(Date.now() + aheadMs))
        const used = aheadMs
        const response = await next(request)
        if (response.status !== 403 || response.headers.get("x-ms-error-code") !== "AuthenticationFailed")
          return response
        const foundMs = Date.parse(response.headers.get("date") ?? "") - Date.now()
        if (!(Math.abs(foundMs - used) > SKEW_THAT_MATTERS_MS)) return response
        if (Math.abs(foundMs - aheadMs) > SKEW_THAT_MATTERS_MS) {
          aheadMs = foundMs
          notify({ what: "clock-skew", seconds: Math.round(foundMs / 1000) })
        }
        return next(request)
      },
    },
    { phase: "Sign", beforePolicies: ["storageSharedKeyCredentialPolicy"] },
  )
  return service
}

/** Makes the SDK sign for the time of `now`. It sets this header from this machine's clock, and signs the header's value. */
function dateBy(headers: Headers, now: () => Date): void {
  const set = headers.set.bind(headers)
  headers.set = (name, value) => set(name, name.toLowerCase() === "x-ms-date" ? now().toUTCString() : value)
}
