import type { StoreKind } from "@unseal/test/harness/stores"
import { Command, InvalidArgumentError, Option } from "commander"

export interface DemoOptions {
  readonly store: StoreKind
  readonly archives: number
  readonly keep?: true
  readonly killWorker?: true
}

export function readOptions(argv: readonly string[]): DemoOptions {
  return new Command("npm run demo --")
    .description(
      "The whole system on one machine: records archives, decrypts them, and compares them with openssl.",
    )
    .addOption(
      new Option("--store <kind>", "where archives are kept").choices(["s3", "azure", "file"]).default("s3"),
    )
    .addOption(new Option("--archives <count>", "how many to record").default(12).argParser(wholeNumber))
    .option("--kill-worker", "kill one of the two workers half-way, with SIGKILL")
    .option("--keep", "leave everything running in the end, until Ctrl-C")
    .parse(argv)
    .opts()
}

function wholeNumber(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new InvalidArgumentError("must be a whole number from 1 to 99999")
  return Number(text)
}
