/** Reports what the stores' adapters find out, in log lines and metrics. */
import { describeNotice, type StoreNotice } from "@unseal/archive/store/notices"
import type { Logger } from "@unseal/service/log/logger"
import { createCounter, createGauge, type Registry } from "@unseal/service/metrics"

/** For the store of a URL, the receiver of its adapter's notices. */
export type StoreNotices = (url: string) => (notice: StoreNotice) => void

/** Logs each notice when it is new or has changed. Counts every denied look. */
export function createStoreNotices(registry: Registry, logger: Pick<Logger, "warn">): StoreNotices {
  const skew = createGauge(registry, {
    name: "unseal_clock_skew_seconds",
    help: "How far a store's clock is ahead of this machine's (negative: behind), learned from the last refusal; 0 before the first",
    labels: {},
    overReplicas: "each",
  })
  const blindLooks = createCounter(registry, {
    name: "unseal_blind_looks_total",
    help: "Looks for an object that a store denied, so nobody can tell whether it exists: the permission s3:ListBucket is missing",
    labels: {},
  })
  return (url) => {
    const [store] = url.split("?", 1)
    const said = new Map<StoreNotice["what"], string>()
    return (notice) => {
      if (notice.what === "clock-skew") skew.set({}, notice.seconds)
      if (notice.what === "blind") blindLooks.increase({})
      const line = describeNotice(notice)
      if (said.get(notice.what) === line) return
      said.set(notice.what, line)
      logger.warn({ store, notice: notice.what }, line)
    }
  }
}
