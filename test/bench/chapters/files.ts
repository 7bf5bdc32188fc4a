import { createWriteStream } from "node:fs"
import { rm } from "node:fs/promises"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { compareSha256, contest, timesAsFast, timesTheCpu } from "../contest.ts"
import { measureCommands } from "../measure.ts"
import { versionOf } from "../peers.ts"
import { COST_COLUMNS, costColumns, failuresOf, mebibytes, settingsOf } from "../report.ts"
import { show } from "../statistics.ts"
import { runCommandLine } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

export const files: Chapter = {
  name: "files",
  title: "File to file, against the openssl command",
  async run(bench) {
    const { archiveBytes, env } = bench.options
    const { key, iv } = bench.recording
    const encrypted = join(bench.directory, "archive.enc")
    const decrypted = join(bench.directory, "archive.ts")
    await pipeline(bench.recording.ciphertext(archiveBytes), createWriteStream(encrypted))
    const check = async (expected: Awaited<ReturnType<typeof bench.expected>>) => {
      await compareSha256([decrypted], expected)
      await rm(decrypted)
    }
    const openssl = [
      ...["openssl", "enc", "-d", "-aes-256-cbc", "-nopad", "-K", key, "-iv", iv],
      ...["-in", encrypted, "-out", decrypted],
    ]
    try {
      const standings = await contest(bench, archiveBytes, [
        {
          name: "`openssl enc -d`",
          settings: await versionOf("openssl"),
          run: () => measureCommands(bench.native, [[openssl]], { env: {}, timeoutSeconds: 600 }),
          check,
        },
        {
          name: "**unseal decrypt**",
          settings: `Node ${process.versions.node}, start included ${Object.keys(env).length > 0 ? JSON.stringify(env) : ""}`,
          run: () => runCommandLine(bench, [encrypted, decrypted], bench.endpoint),
          check,
        },
      ])
      const [peer, unseal] = standings as [(typeof standings)[0], (typeof standings)[0]]
      const comparable = peer.costs.length > 0 && unseal.costs.length > 0
      return {
        conditions: `${mebibytes(archiveBytes)} in a file system in memory, so that no disk is measured; each output is compared by SHA-256.`,
        columns: ["", ...COST_COLUMNS, "unseal's throughput", "unseal's CPU"],
        rows: standings.map((standing) => [
          standing.contender.name,
          ...costColumns(standing, archiveBytes),
          ...(comparable && standing === peer
            ? [`${show(timesAsFast(unseal, peer), 2)}×`, `${show(timesTheCpu(unseal, peer), 2)}×`]
            : ["", ""]),
        ]),
        settings: settingsOf(standings),
        failures: failuresOf(standings),
      }
    } finally {
      await Promise.all([encrypted, decrypted].map((path) => rm(path, { force: true })))
    }
  },
}
