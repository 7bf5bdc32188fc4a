/**
 * Imported before anything else by a process that moves bytes. Little of its heap lives long, and bytes are outside of it; but
 * V8 lets the space for young objects grow to 64 MiB before it collects any, and most of that growth is the loading of modules.
 * `npm run bench -- --chapter memory --quick`: a worker's peak RSS is 200 MiB with this, 225 without. More collections are its
 * price, which archives of many parts don't notice; ingest, whose work is all on the heap, does without it.
 */
import { setFlagsFromString } from "node:v8"

setFlagsFromString("--semi-space-growth-factor=1")
