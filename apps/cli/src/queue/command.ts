import { type Command, Option } from "commander"
import { wholeNumber } from "../terminal/count.ts"

/** The option that names a lane. */
export const laneOption = (meaning: string) => new Option("--lane <lane>", meaning).choices(["live", "bulk"])

/** Adds `submit` to `program`. */
export function addSubmitCommand(program: Command, signal: AbortSignal): void {
  program
    .command("submit")
    .description("enqueue archives by their callbacks: one, or any number in files and folders")
    .argument(
      "<files...>",
      "callbacks in JSON (one, an array, one a line, lines of a log) or CSV (archiveId,projectId,password[,key,size,sha256sum]), or a gzip of either; folders; - for standard input",
    )
    .option("--project <id>", "only this project; callbacks that name no project belong to it")
    .addOption(
      laneOption(
        "default: live for a single callback, bulk for everything else; bulk archives wait behind all live ones",
      ),
    )
    .option("--dry-run", "only say what would happen to each line")
    .option(
      "--rejects <file>",
      "write refused lines to this new file, so that you can correct and submit them",
    )
    .option("--no-look", "don't check the destinations for archives that are done already")
    .option("--again", "also enqueue a committed archive, as a new job; UNSEAL_EXISTING applies")
    .option("--json", "print the result as JSON; for many callbacks, one object a line, and the counts last")
    .action(async (paths, options) => (await import("./submit.ts")).submitCommand(paths, options, signal))
}

/** Adds the commands of the queue to `queue`. */
export function addQueueCommands(queue: Command, signal: AbortSignal): void {
  queue
    .command("status")
    .description("count the jobs by state, and account for every archive that was accepted")
    .option("--check", "fail if an accepted archive is neither committed, a dead letter, live nor discarded")
    .option("--json", "print the result as JSON")
    .action(async (options) => (await import("./status.ts")).queueStatusCommand(options, signal))

  queue
    .command("pause")
    .description("start no job until `unseal queue resume`; running jobs finish, new callbacks are kept")
    .option("--json", "print the result as JSON")
    .action(async (options) => (await import("./suspensions.ts")).pauseCommand(options, signal))

  queue
    .command("resume")
    .description(
      "end the pause, and the suspensions that hold archives back; whatever is still broken is suspended again",
    )
    .option("--project <id>", "only suspensions of this project")
    .addOption(
      new Option("--side <side>", "only suspensions of this side").choices([
        "source",
        "destination",
        "keys",
        "vendor",
      ]),
    )
    .option("--json", "print the result as JSON")
    .action(async (options) => (await import("./suspensions.ts")).resumeCommand(options, signal))

  const withFilter = (command: Command) =>
    command
      .option("--code <code>", "only those with this error code")
      .option("--project <id>", "only those of this project")
      .option("--id <id>", "only the one with this job id, or of this archive")
      .option("--older-than <time>", "only those that were given up at least this long ago: 90m, 72h")
      .option("--json", "print the result as JSON")
  withFilter(queue.command("dead-letters"))
    .description("list the jobs that were given up, newest first")
    .addOption(new Option("--limit <count>", "list at most this many").default(100).argParser(wholeNumber))
    .action(async (options) => (await import("./dead-letters.ts")).deadLettersCommand(options, signal))
  withFilter(queue.command("redrive"))
    .description("give dead letters a new life, with fresh counters")
    .option("--all", "all of them")
    .option(
      "--committed <ids...>",
      "archives that were committed, as new jobs; the vendor is asked for their passwords",
    )
    .addOption(
      laneOption(
        "the lane that they go into; default: the lane that each one had, and live with --committed",
      ),
    )
    .option("--dry-run", "only say which")
    .action(async (options) => (await import("./redrive.ts")).redriveCommand(options, signal))

  queue
    .command("discard")
    .description(
      "remove dead letters, count them as discarded, and keep reconcile from enqueueing them for 30 days",
    )
    .argument("<id...>", "ids of jobs or archives")
    .requiredOption("--reason <text>", "why nobody will need them; part of the output")
    .option("--json", "print the result as JSON")
    .action(async (ids, options) => (await import("./dead-letters.ts")).discardCommand(ids, options, signal))
}
