/**
 * Imported before anything else by a process that moves bytes: bytes are outside of the heap, and of what is on it little lives
 * long. More collections are the price, which archives of many parts don't notice; ingest, whose work is all on the heap, does
 * without this.
 */
import { setFlagsFromString } from "node:v8"

/**
 * `npm run start:worker` gives V8 4 MiB for young objects, no less and no more, which only the command line can: fewer outlive
 * them than outlive the 1 MiB of this flag, 1.07 times as many small archives a second (medians of six interleaved runs) at no
 * more memory. This is for a worker that is started otherwise.
 *
 * V8 lets the space for young objects grow to 64 MiB before it collects any, and most of that growth is the loading of modules.
 * `npm run bench -- --chapter memory --quick`: a worker's peak RSS is 200 MiB with this, 225 without.
 */
setFlagsFromString("--semi-space-growth-factor=1")

/**
 * What an archive leaves outlives a young space so small, and V8 lets that grow to several times what is alive before it looks;
 * now to twice. `npm run bench -- --chapter small`: a worker's peak RSS is 183 to 200 MiB with this and 177 to 236 without, for
 * the same rate. (At 40 percent: 167 to 173, and 0.95 times as many archives a second.)
 */
setFlagsFromString("--heap-growing-percent=100")
