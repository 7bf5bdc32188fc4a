import { describeNotice, type StoreNotice } from "@unseal/archive/store/notices"

/** Prints on stderr what the adapter of the store of `url` finds out: each notice once, until it changes. */
export function sayNotices(url: string): (notice: StoreNotice) => void {
  const [store] = url.split("?", 1)
  const said = new Map<StoreNotice["what"], string>()
  return (notice) => {
    const line = describeNotice(notice)
    if (said.get(notice.what) === line) return
    said.set(notice.what, line)
    // A progress line may be there.
    process.stderr.write(`${process.stderr.isTTY ? "\r\x1b[K" : ""}unseal: ${store}: ${line}\n`)
  }
}
