/** `unseal backfill plan`: its options. */
import { type Command, Option } from "commander"

export function addPlanCommand(backfill: Command, signal: AbortSignal): void {
  backfill
    .command("plan")
    .description(
      "compare a manifest with the queue, the destination and the source, and estimate time, requests and cost",
    )
    .argument("[file...]", "files, folders, or URLs of objects (s3://…) with callbacks; - for standard input")
    .option(
      "--project <id>",
      "only this project; callbacks that name no project belong to it; default: UNSEAL_PROJECT_ID, or all",
    )
    .option("--from <date>", "instead of a file, take the vendor's list from this day on: 2023-01-31")
    .option("--to <date>", "up to, but not including this day; default: now")
    .addOption(
      new Option("--restore <tier>", "include the time and cost of restoring archived objects").choices([
        "bulk",
        "standard",
      ]),
    )
    .option("--restore-most <count>", "restore at most this many at once", "1000")
    .option("--workers <count>", "the number of workers; default: those that are connected, at least 2")
    .option("--worker-rate <bytes>", "what network and stores give one worker each second", "100MB")
    .option("--price-reads <price>", "the price of 1,000 reads (GET, HEAD)")
    .option("--price-writes <price>", "the price of 1,000 writes (PUT, POST)")
    .option("--price-gb <price>", "the price of a GB in or out")
    .option("--price-restores <price>", "the price of 1,000 requests to restore")
    .option("--price-restored-gb <price>", "the price of a GB that is restored")
    .option("--json", "print the plan as JSON")
    .action(async (paths, options) => (await import("./plan.ts")).planCommand(paths, options, signal))
}
