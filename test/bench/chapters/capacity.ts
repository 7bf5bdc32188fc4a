import { measureArchiveCosts } from "../archive-costs.ts"
import type { Chapter } from "./chapter.ts"

export const capacity: Chapter = {
  name: "capacity",
  title: "What an archive costs Redis and the stores",
  async run(bench) {
    const count = bench.options.quick ? 100 : 2_000
    const { redis, part, stores } = await measureArchiveCosts(count, [2, 3, 5])
    const row = (name: string, value: number, digits = 0, perPart?: number) => [
      name,
      value.toFixed(digits),
      perPart === undefined ? "" : perPart.toFixed(1),
    ]
    return {
      conditions: `${count} archives of one part, enqueued and then decrypted by one worker, S3 → S3; for the last column one archive of 200 parts. Memory is that of all keys.`,
      columns: ["of an archive", "", "and for each part"],
      rows: [
        row("Redis: memory while it waits, bytes", redis.waitingBytes),
        row("Redis: memory in the hour after its commit, bytes", redis.keptBytes),
        row("Redis: commands, inside scripts too", redis.commands, 1, part.commands),
        row("Redis: append-only file, bytes", redis.aofBytes, 0, part.aofBytes),
        row("Redis: processor time, ms", redis.cpuMs, 2),
        ...stores.map(({ parts, reads, writes }) => [
          `stores: reads and writes of an archive in ${parts} ${parts === 1 ? "part" : "parts"}`,
          `${reads}, ${writes}`,
          "",
        ]),
      ],
      settings: [["worker", `Node ${process.versions.node}, parts as small as the stores take`]],
      failures: [],
    }
  },
}
