import { describeQuirks, isQuirkName, type QuirkName } from "@unseal/simulator/s3/quirks/quirks"
import { REDIS_FORMS, type RedisFormName } from "@unseal/test/harness/redis/form"
import type { StoreKind } from "@unseal/test/harness/stores"
import { Command, InvalidArgumentError, Option } from "commander"

export interface DemoOptions {
  readonly store: StoreKind
  readonly redis: RedisFormName
  readonly archives: number
  readonly keep?: true
  readonly killWorker?: true
  /** Limits the S3 server's users to what docs/permissions.md prints. */
  readonly policies?: true
  /** The S3 server's differences from S3; `all` runs the demo once for each quirk. */
  readonly quirk: readonly QuirkName[] | "all"
  /** Leaves out of the store URLs the parameters that a store demands. */
  readonly plainUrls?: true
  /** How many archives of earlier years to backfill, instead of the journey. */
  readonly backfill?: number
  /** Whether to show rotation and recovery too. */
  readonly journey: boolean
}

export function readOptions(argv: readonly string[]): DemoOptions {
  const command = new Command("npm run demo --")
    .description(
      "The whole system on one machine: records archives, decrypts them, and compares them with openssl.",
    )
    .addOption(
      new Option("--store <kind>", "where archives are kept").choices(["s3", "azure", "file"]).default("s3"),
    )
    .addOption(new Option("--redis <form>", "how Redis is run").choices(REDIS_FORMS).default("plain"))
    .addOption(new Option("--archives <count>", "how many to record").default(12).argParser(wholeNumber))
    .option("--kill-worker", "kill one of the two workers half-way, with SIGKILL")
    .addOption(
      new Option(
        "--quirk <name>",
        "a way in which the S3 server differs from S3; may be repeated; all: each in a run of its own",
      )
        .default([], "none")
        .argParser(oneMoreQuirk),
    )
    .option("--plain-urls", "with a quirk that demands parameters in the store's URL: leave them out")
    .option(
      "--no-journey",
      "leave out the new certificate and the Redis that forgets (only --store s3 shows them)",
    )
    .addOption(
      new Option(
        "--backfill <count>",
        "instead of that: backfill so many archives of earlier years, with others recorded meanwhile",
      ).argParser(wholeNumber),
    )
    .option("--policies", "let nobody do more on the S3 server than docs/permissions.md prints")
    .option("--keep", "leave everything running at the end, until Ctrl-C")
    .parse(argv)
  const options = command.opts<DemoOptions>()
  if (options.quirk.length > 0 && options.store !== "s3")
    command.error(`error: --quirk is for --store s3, not ${options.store}`, { exitCode: 2 })
  if (options.policies && options.store !== "s3")
    command.error(`error: --policies is for --store s3, not ${options.store}`, { exitCode: 2 })
  if (options.backfill !== undefined && (options.quirk.length > 0 || options.policies))
    command.error("error: --backfill is not for --quirk or --policies", { exitCode: 2 })
  return options
}

function oneMoreQuirk(name: string, before: DemoOptions["quirk"]): DemoOptions["quirk"] {
  if (name === "all" || before === "all") return "all"
  if (!isQuirkName(name)) throw new InvalidArgumentError(`there are\n${describeQuirks()}`)
  return [...before, name]
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError("must be a whole number from 1 to 99999")
  return Number(text)
}
