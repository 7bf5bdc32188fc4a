// Writes an object to standard output. Credentials are in the environment, as the SDKs have them.
//
//   node read-object.ts STORE KEY
import { openStore } from "@unseal/archive/store/open"
import { readSmallObject } from "@unseal/archive/store/small-object"

const [url, key] = process.argv.slice(2) as [string, string]
const signal = AbortSignal.timeout(60_000)
const store = await openStore(url, { env: process.env })
const object = await store.stat(key, signal)
if (object === null) throw new Error(`${url} has no ${key}`)
process.stdout.write(await readSmallObject(store, object, 2 ** 30, signal))
await store.close()
