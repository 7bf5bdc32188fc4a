/** What the stores' adapters find out, in a log line and in metrics. */
import type { StoreNotice } from "@unseal/archive/store/adapter"
import type { Logger } from "@unseal/service/logger"
import { createCounter, createGauge, type Registry } from "@unseal/service/metrics"

/** For the store of a URL, what its adapter is to tell its notices to. */
export type StoreNotices = (url: string) => (notice: StoreNotice) => void

/** Each notice is a line when it is new or has changed; the look that was denied is counted each time. */
export function createStoreNotices(registry: Registry, logger: Pick<Logger, "warn">): StoreNotices {
  const skew = createGauge(registry, {
    name: "unseal_clock_skew_seconds",
    help: "How far a store's clock is ahead of this machine's (negative: behind), as last learned from a refusal; 0 before",
    labels: {},
  })
  const blindLooks = createCounter(registry, {
    name: "unseal_blind_looks_total",
    help: "Looks for an object that a store denied, so that nobody can tell whether it is there: s3:ListBucket is missing",
    labels: {},
  })
  return (url) => {
    const [store] = url.split("?", 1)
    let said = ""
    return (notice) => {
      if (notice.what === "clock-skew") skew.set({}, notice.seconds)
      if (notice.what === "blind") blindLooks.increase({})
      const line = sentence(notice)
      if (line === said) return
      said = line
      logger.warn({ store, notice: notice.what }, line)
    }
  }
}

function sentence(notice: StoreNotice): string {
  switch (notice.what) {
    case "clock-skew": {
      const { seconds } = notice
      if (Math.abs(seconds) < 60) return "the store's clock agrees with this machine's again"
      return `the store's clock is ${Math.abs(seconds)} s ${seconds > 0 ? "ahead of" : "behind"} this machine's: requests are signed by the store's; set the wrong one right`
    }
    case "other-region":
      return `the bucket is in region ${notice.region}: requests are signed for it; add region=${notice.region} to the store's URL`
    case "blind":
      return "the store denies the look at objects that are not there: grant s3:ListBucket, or a missing object can't be told from a forbidden one"
  }
}
