/** A process that feeds backfills between directories, and kills itself at a given point: `STEP:PASSAGE`, or "" for never. */
import { openStore } from "@unseal/archive/store/open"
import { startFeeding } from "@unseal/operations/backfill/feed/feeding"
import { createProducer } from "@unseal/queue/enqueue/producer"
import { Redis } from "ioredis"
import { poisoned } from "../poisoned.ts"

const [redisUrl = "", queue = "", directory = "", point = ""] = process.argv.slice(2)
const [killAt = "", passage = "0"] = point.split(":")
const connection = new Redis(redisUrl, { maxRetriesPerRequest: null })
connection.on("error", () => {})
const store = poisoned(await openStore(`file://${directory}`, { env: {} }))
let passages = 0

startFeeding({
  ...{ connection, queue, window: 2_000, leaseMs: 1_500, pauseMs: 20, searchAfterMs: 0 },
  producer: createProducer({ connection, queue, deadlineMs: 20_000 }),
  homes: () => ["100001"],
  openHome: async () => ({ store, release() {} }),
  async sidesOf({ projectId, archiveId }) {
    const destinationKey = `${projectId}/${archiveId}/archive.ts`
    return { source: store, destination: store, sourceKeys: [], destinationKey, release() {} }
  },
  async step(step) {
    if (step === killAt && ++passages === Number(passage)) process.kill(process.pid, "SIGKILL")
  },
  observe: {
    ...{ turned() {}, began() {}, ended() {} },
    halted: (_, error) => void process.stderr.write(`${error}\n`),
  },
})
