/**
 * A resolver under control, loaded by `--import` into a worker: `*.chaos.test` is this machine, unless the file that
 * `CHAOS_NAMES_FAIL` names is there and holds the code with which every look fails.
 */
import dns, { type LookupAddress, type LookupOptions } from "node:dns"
import { readFileSync } from "node:fs"
import { syncBuiltinESMExports } from "node:module"

type Callback = (error: Error | null, address?: string | LookupAddress[], family?: number) => void

const real = dns.lookup
const failing = process.env.CHAOS_NAMES_FAIL ?? ""

function failure(host: string): Error | null {
  try {
    const code = readFileSync(failing, "utf8")
    return Object.assign(new Error(`getaddrinfo ${code} ${host}`), {
      code,
      hostname: host,
      syscall: "getaddrinfo",
    })
  } catch {
    return null
  }
}

function lookup(host: string, options: LookupOptions, callback: Callback): void {
  if (!host.endsWith(".chaos.test")) {
    real(host, options, callback as never)
    return
  }
  const error = failure(host)
  process.nextTick(() => {
    if (error) callback(error)
    else if (options.all) callback(null, [{ address: "127.0.0.1", family: 4 }])
    else callback(null, "127.0.0.1", 4)
  })
}

dns.lookup = lookup as never
syncBuiltinESMExports()
