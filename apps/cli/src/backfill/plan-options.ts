/** `unseal backfill plan`: its options. */
import { type Command, Option } from "commander"

export function addPlanCommand(backfill: Command, signal: AbortSignal): void {
  backfill
    .command("plan")
    .description(
      "compare a manifest with queue, destination and source, and estimate time, requests and price",
    )
    .argument("[file...]", "files, folders, or URLs of objects (s3://…) with callbacks; - for standard input")
    .option(
      "--project <id>",
      "only this project, also of callbacks that name none; default: UNSEAL_PROJECT_ID, or all",
    )
    .option("--from <date>", "instead of a file, the vendor's list from this day on: 2023-01-31")
    .option("--to <date>", "up to, but not including this day; default: now")
    .addOption(
      new Option("--restore <tier>", "count what asking archived objects back takes").choices([
        "bulk",
        "standard",
      ]),
    )
    .option("--restore-most <count>", "at most this many at once", "1000")
    .option("--workers <count>", "how many work on it; default: those that are connected, or 2")
    .option("--worker-rate <bytes>", "what network and stores give one worker each second", "100MB")
    .option("--price-reads <price>", "of 1,000 reads (GET, HEAD)")
    .option("--price-writes <price>", "of 1,000 writes (PUT, POST)")
    .option("--price-gb <price>", "of a GB in or out")
    .option("--price-restores <price>", "of 1,000 requests to restore")
    .option("--price-restored-gb <price>", "of a GB that is restored")
    .option("--json", "print the plan as JSON")
    .action(async (paths, options) => (await import("./plan.ts")).planCommand(paths, options, signal))
}
