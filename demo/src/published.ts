/** Checks the destination of a demo that ends in a sentence: it must be empty, unless the quirk spares some archives. */
import { counted } from "@unseal/archive/counted"
import type { StoredObject } from "@unseal/archive/store/contract"
import { openStore } from "@unseal/archive/store/open"
import { s3Stores, VENDOR_CREDENTIAL } from "@unseal/test/harness/stores"
import type { System } from "@unseal/test/harness/system"
import { compareWithOpenssl } from "./compare.ts"
import type { Leaves } from "./quirk-ends.ts"

const never = new AbortController().signal

/** Counts the archives at the destination by their state. */
export interface Published {
  /** Archives that equal openssl's. */
  readonly whole: number
  /** Archives that do not, because the store completes uploads wrongly. */
  readonly torn: number
  /** Archives that are torn or missing, although a record says that they are whole. */
  readonly vouchedFor: number
}

/** Looks for every archive of the system, with the vendor's credential, which no quirk affects. */
export async function lookForPublished(system: System): Promise<Published> {
  const urls = s3Stores(system.simulator.ports.s3!)
  const [source, destination] = [await open(urls.source), await open(urls.destination)]
  const seen = { whole: 0, torn: 0, vouchedFor: 0 }
  const find = (key: string): Promise<StoredObject | null> => destination.stat(key, never)
  try {
    for (const { id, key } of await system.archives()) {
      const isThere = (await find(key)) !== null
      const hasRecord = (await find(key.replace(/\.ts$/, ".json"))) !== null
      if (isThere) {
        const { expected, actual } = await compareWithOpenssl(
          { ...system, source, destination },
          await system.archive(id),
        )
        if (expected === actual) {
          seen.whole++
          continue
        }
        seen.torn++
      }
      if (hasRecord) seen.vouchedFor++
    }
    return seen
  } finally {
    await source.close()
    await destination.close()
  }
}

const open = (url: string) =>
  openStore(url, {
    env: {},
    credentials: {
      accessKeyId: VENDOR_CREDENTIAL.AWS_ACCESS_KEY_ID,
      secretAccessKey: VENDOR_CREDENTIAL.AWS_SECRET_ACCESS_KEY,
    },
  })

/** Describes what must not be at the destination but is; `null` if all is well. */
export function wronglyPublished({ whole, torn, vouchedFor }: Published, leaves: Leaves): string | null {
  if (vouchedFor > 0)
    return `${counted(vouchedFor, "archive has a record, and is", "archives have a record, and are")} not what openssl gives`
  if (torn > 0 && leaves !== "torn archives")
    return `${counted(torn, "archive differs", "archives differ")} from what openssl gives`
  return whole > 0 && leaves === "nothing"
    ? `${counted(whole, "archive is", "archives are")} published all the same`
    : null
}
