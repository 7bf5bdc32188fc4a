/** Azure refuses what is signed with an account key by a clock that is a quarter of an hour off. The answer tells Azure's time. */
import { type BlobServiceClient, StorageSharedKeyCredential } from "@azure/storage-blob"
import type { StoreNotice } from "../adapter.ts"

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

/** The part of a client's insides that takes a policy before the one that signs. */
interface Insides {
  readonly storageClientContext: {
    readonly pipeline: {
      addPolicy(policy: Policy, options: { phase: "Sign"; beforePolicies: string[] }): void
    }
  }
}

/** By how much clocks may differ without anybody being told; Azure's own limit is 15 minutes. */
const SKEW_THAT_MATTERS_MS = 60_000

/**
 * `service`, whose requests are signed by the store's clock once the store has refused this machine's: that request is made again.
 * A shared access signature and a token have no time of this machine's in them, so nothing is done about those.
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

/** Lets the SDK sign for the time of `now`: it sets this header, always by this machine's clock, and signs what is in it. */
function dateBy(headers: Headers, now: () => Date): void {
  const set = headers.set.bind(headers)
  headers.set = (name, value) => set(name, name.toLowerCase() === "x-ms-date" ? now().toUTCString() : value)
}
