import { createWriteStream } from "node:fs"
import { mkdir, rm } from "node:fs/promises"
import { join } from "node:path"
import { pipeline } from "node:stream/promises"
import { installLinked, packInto } from "../../harness/packed.ts"
import { compareSha256, contest, type Standing, timesAsFast, timesTheCpu } from "../contest.ts"
import { measureCommands } from "../measure.ts"
import { versionOf } from "../peers.ts"
import { failuresOf, mebibytes, settingsOf } from "../report.ts"
import { show, spreadOf } from "../statistics.ts"
import { runCommandLine } from "../unseal-contenders.ts"
import type { Chapter } from "./chapter.ts"

const ARCHIVE_BYTES = 1_048_576
/** A start is short, so more of them are measured. */
const STARTS_A_ROUND = 5
const LIMIT_SECONDS = 1

const MILLISECONDS = ["ms", "CPU-ms"]
const milliseconds = ({ costs }: Standing): string[] =>
  costs.length === 0
    ? ["failed", ""]
    : [
        show(spreadOf(costs.map(({ seconds }) => seconds * 1_000)), 0),
        show(spreadOf(costs.map(({ cpuSeconds }) => cpuSeconds * 1_000)), 0),
      ]

export const starting: Chapter = {
  name: "starting",
  title: "Starting",
  async run(bench) {
    const folder = join(bench.directory, "installed")
    await mkdir(folder)
    await installLinked(folder, (await packInto(folder)).program)
    const entry = join(folder, "node_modules/.bin/unseal")
    const [encrypted, decrypted] = [join(folder, "archive.enc"), join(folder, "archive.ts")]
    await pipeline(bench.recording.ciphertext(ARCHIVE_BYTES), createWriteStream(encrypted))
    const check = async (expected: Awaited<ReturnType<typeof bench.expected>>) => {
      await compareSha256([decrypted], expected)
      await rm(decrypted)
    }
    const { key, iv } = bench.recording
    const run = (...command: string[]) =>
      measureCommands(bench.native, [[command]], { env: {}, timeoutSeconds: 60 })
    const openssl = ["openssl", "enc", "-d", "-aes-256-cbc", "-nopad", "-K", key, "-iv", iv]
    const unseal = (env: Readonly<Record<string, string>>) =>
      runCommandLine(bench, [encrypted, decrypted], bench.endpoint, { entry, env })
    const node = `Node ${process.versions.node}`
    try {
      const standings = await contest(
        bench,
        ARCHIVE_BYTES,
        [
          {
            name: "`openssl enc -d`, which gets the content key",
            settings: await versionOf("openssl"),
            run: () => run(...openssl, "-in", encrypted, "-out", decrypted),
            check,
          },
          {
            name: "`node -e 0`, which does nothing",
            settings: node,
            run: () => run(process.execPath, "-e", "0"),
            check: async () => {},
          },
          {
            name: "**unseal decrypt**, from the tarball",
            settings: `${node}, no compile cache`,
            run: () => unseal({ NODE_DISABLE_COMPILE_CACHE: "1" }),
            check,
          },
          {
            name: "the same with Node's compile cache, filled",
            settings: `${node}, NODE_COMPILE_CACHE`,
            run: () => unseal({ NODE_COMPILE_CACHE: join(folder, "compiled") }),
            check,
          },
        ],
        { rounds: bench.options.rounds * STARTS_A_ROUND },
      )
      const bare = standings[2]!
      const comparable = standings.every(({ costs }) => costs.length > 0)
      const whole = comparable ? spreadOf(bare.costs.map(({ seconds }) => seconds)) : undefined
      return {
        conditions: `An archive of ${mebibytes(ARCHIVE_BYTES)} (one part) in a file system in memory: from the command's start to its end. The ratios are those of unseal decrypt without a cache over each row's. Each output is compared by SHA-256.`,
        columns: ["", ...MILLISECONDS, "unseal's time", "unseal's CPU"],
        rows: standings.map((standing) => [
          standing.contender.name,
          ...milliseconds(standing),
          ...(comparable && standing !== bare
            ? [`${show(timesAsFast(standing, bare), 1)}×`, `${show(timesTheCpu(bare, standing), 1)}×`]
            : ["", ""]),
        ]),
        ...(whole && {
          targets: [
            {
              claim: `unseal decrypt starts, decrypts and ends within ${LIMIT_SECONDS} s`,
              measured: `${show(whole, 2)} s`,
              reached: whole.median <= LIMIT_SECONDS,
            },
          ],
        }),
        settings: settingsOf(standings),
        failures: failuresOf(standings),
      }
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  },
}
