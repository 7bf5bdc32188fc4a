/** `unseal backfill`: its commands and options. */
import { type Command, InvalidArgumentError, Option } from "commander"
import { addPlanCommand } from "./plan-options.ts"

export function addBackfillCommands(program: Command, signal: AbortSignal): void {
  const backfill = program
    .command("backfill")
    .description("decrypt the archives of earlier years, behind incoming callbacks")
  addPlanCommand(backfill, signal)
  const json = (command: Command) => command.option("--json", "print the result as JSON")
  const paced = (command: Command) =>
    json(command)
      .option("--rate <rate>", "at most this many archives or bytes: 5/s, 100/h, 200MB/s; none: no limit")
      .option("--hours <from-until>", "only within these hours of the day: 22-6; none: at any hour")
      .option("--zone <name>", "the time zone of the hours: Europe/Berlin; default: UTC")

  paced(backfill.command("start"))
    .description(
      "write a manifest to a destination; workers feed it from there into the queue, after all callbacks",
    )
    .argument("[file...]", "files, folders, or URLs of objects (s3://…) with callbacks; - for standard input")
    .option("--project <id>", "the project of callbacks that name none")
    .option("--from <date>", "instead of a file, the vendor's list from this day on: 2023-01-31")
    .option("--to <date>", "up to, but not including this day; default: now")
    .option("--home <project>", "keep it at this project's destination; default: that of the first archive")
    .option("--again", "start a backfill again after it has ended")
    .addOption(
      new Option("--restore <tier>", "restore objects in an archival class, and wait for them").choices([
        "bulk",
        "standard",
      ]),
    )
    .addOption(
      new Option("--restore-most <count>", "restore at most this many at once")
        .default(1_000)
        .argParser(whole),
    )
    .action(async (files, options) => (await import("./run.ts")).startCommand(files, options, signal))

  json(backfill.command("status"))
    .description("show the progress of a backfill, or of all that are under way")
    .argument("[id]")
    .action(async (id, options) => (await import("./run.ts")).statusCommand(id, options, signal))

  json(backfill.command("list"))
    .description("list the backfills at all destinations, newest first")
    .action(async (options) => (await import("./run.ts")).listCommand(options, signal))

  for (const [command, does] of [
    ["pause", "stop feeding until `unseal backfill resume`; jobs in the queue still finish"],
    ["resume", "end the pause"],
    [
      "cancel",
      "stop feeding for good; jobs in the queue still finish, and the rest is reported as cancelled",
    ],
  ] as const)
    json(backfill.command(command))
      .description(does)
      .argument("<id>")
      .action(async (id, options) => (await import("./run.ts")).orderCommand(command, id, options, signal))

  paced(backfill.command("set"))
    .description("change the pace of a backfill while it runs; without options, show it")
    .argument("<id>")
    .action(async (id, options) => (await import("./run.ts")).setCommand(id, options, signal))

  json(backfill.command("report"))
    .description("print the outcome of each line, as CSV with code and remedy; fails if a line is not done")
    .argument("<id>")
    .option("--unfinished", "only lines that are neither committed nor done before")
    .action(async (id, options) => (await import("./run.ts")).reportCommand(id, options, signal))
}

function whole(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError("must be a whole number, 1 or more")
  return Number(text)
}
