import { VERSION } from "@unseal/service/version"
import { useProxies } from "@unseal/vendor/proxy"
import { Command, CommanderError, InvalidArgumentError, Option } from "commander"
import { addBackfillCommands } from "./backfill/command.ts"
import { addCertificateCommands } from "./certificate/command.ts"
import { env } from "./config.ts"
import { addQueueCommands, addSubmitCommand, laneOption } from "./queue/command.ts"
import { addStorageCommands } from "./storage/command.ts"
import { wholeNumber } from "./terminal/count.ts"
import { EXIT, explain, Interrupted, UsageError } from "./terminal/exit.ts"
import { withVendor } from "./vendor-options.ts"

useProxies(env)
const interrupted = new AbortController()
/** Under npx, Ctrl-C arrives twice: from the terminal, and forwarded. A later one comes from an impatient user. */
const SAME_SIGNAL_MS = 1_000
let interruptedAt: number | undefined
for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  // Removes the listener that apps/entry.mjs keeps for a container's first process until its main listens.
  process.removeAllListeners(name)
  process.on(name, () => {
    interruptedAt ??= performance.now()
    interrupted.abort(new Interrupted(`interrupted by ${name}`))
    if (performance.now() - interruptedAt > SAME_SIGNAL_MS) process.exit(EXIT.failed)
  })
}
// A reader may stop early, as in `unseal decrypt … - | head`.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(EXIT.failed)
  // The other listener has more to say.
  if (process.stdout.listenerCount("error") > 1) return
  process.stderr.write(`unseal: standard output can't be written: ${error.code}\n`)
  process.exit(EXIT.failed)
})
const { signal } = interrupted

function percent(text: string): number {
  const value = /^\d{1,3}$/.test(text) ? Number(text) : Number.NaN
  if (!(value <= 100)) throw new InvalidArgumentError("must be a whole number from 0 to 100")
  return value
}
const collect = (value: string, before: string[]) => [...before, value]
const withPassword = (command: Command) =>
  command
    .option("--password <base64>", "the encrypted password, as in the callback")
    .option("--password-file <file>", "a file with the encrypted password; - for standard input")
    .option("--callback <file>", "a file with the archive-status callback (JSON); - for standard input")
    .option(
      "--key <file>",
      "a private key (PEM); may be repeated, keys are tried in this order; default: those in UNSEAL_KEYS",
      collect,
      [],
    )
    .option("--passphrase-file <file>", "the passphrase of the key; default: key.passphrase beside key.pem")
    .option("--json", "print the result as JSON")

const program = new Command("unseal")
  .description("Decrypts encrypted OpenTok and Vonage Video archives.")
  .version(VERSION)
  .exitOverride()
  .showHelpAfterError("(unseal --help lists the commands)")
  .addHelpText(
    "after",
    "\nExit codes: 0 done · 1 failed for good · 2 usage or configuration · 3 may be tried again",
  )

withPassword(program.command("decrypt"))
  .description("decrypt one archive")
  .argument("<source>", "a path, - or s3://bucket/key, azure://container/key, file:///path, https://…")
  .argument(
    "<destination>",
    "like the source, but not https; a file appears under its name only when it is complete",
  )
  .addOption(
    new Option("--tail <rule>", "keep what openssl -nopad gives, or trim a PKCS#7 padding").choices([
      "keep",
      "trim",
    ]),
  )
  .option("--overwrite", "replace an existing destination")
  .addOption(
    new Option(
      "--max-damage <percent>",
      "fail if more packets lack their sync byte (default: UNSEAL_MAX_DAMAGE, 50)",
    ).argParser(percent),
  )
  .option("--require-size", "fail unless the source has the size that the callback announced")
  .option("--digest", "print the SHA-256 of the plaintext")
  .action(async (from, to, options) =>
    (await import("./archives/decrypt.ts")).decryptCommand(from, to, options, signal),
  )

withPassword(program.command("inspect"))
  .description("show what a password holds and which key opens it, but never the key")
  .action(async (options) => (await import("./archives/inspect.ts")).inspectCommand(options, signal))

addSubmitCommand(program, signal)

addCertificateCommands(
  program.command("certificate").description("make, encode and check certificates and their keys"),
  signal,
)

addStorageCommands(
  program.command("storage").description("tell the vendor where archives go, and under which certificate"),
  signal,
)

addBackfillCommands(program, signal)

const archives = program.command("archives").description("find archives, and what the vendor has recorded")
withVendor(archives.command("list"))
  .description("list the project's archives, newest first")
  .addOption(new Option("--limit <count>", "list at most this many").default(100).argParser(wholeNumber))
  .option("--status <status>", "only those with this status")
  .option("--all-fields", "with --json: also the encrypted password and the download URL")
  .option("--json", "print the result as JSON")
  .action(async (options) => (await import("./archives/list.ts")).archivesListCommand(options, signal))

archives
  .command("show")
  .description(
    "show where an archive is (queue, source, destination, open uploads, vendor) and what comes next",
  )
  .argument("<id>", "the archive's id, or a job's")
  .option("--project <id>", "only in this project")
  .option("--json", "print the result as JSON")
  .action(async (id, options) =>
    (await import("./archives/show.ts")).archivesShowCommand(id, options, signal),
  )

archives
  .command("reconcile")
  .description("enqueue archives that were recorded but are neither at their destination nor in the queue")
  .option("--project <id>", "only this project; default: all that have credentials for the REST API")
  .option("--look-back <time>", "how far back to look for archives: 90m, 72h", "72h")
  .addOption(laneOption("the lane that they go into").default("live"))
  .option("--dry-run", "only say which")
  .option("--json", "print the result as JSON")
  .action(async (options) => (await import("./archives/reconcile.ts")).reconcileCommand(options, signal))

addQueueCommands(program.command("queue").description("look after the queue"), signal)

program
  .command("janitor")
  .description(
    "abort uploads at the destinations that belong neither to a job nor to a dead letter that can resume",
  )
  .option("--older-than <time>", "only uploads that were begun at least this long ago: 30s, 15m, 6h", "6h")
  .option("--dry-run", "only say which")
  .option("--json", "print the result as JSON")
  .action(async (options) => (await import("./queue/janitor.ts")).janitorCommand(options, signal))

program
  .command("doctor")
  .description(
    "check all that workers and ingest need (settings, Redis, stores, keys, the vendor), and say what to mend",
  )
  .option("--project <id>", "only this project's stores, keys and vendor; may be repeated", collect, [])
  .addOption(
    new Option("--for <process>", "only what this process needs; default: both").choices([
      "worker",
      "ingest",
    ]),
  )
  .option("--timeout <time>", "how long each look may take: 2s, 1m", "10s")
  .option("--json", "print the checks as JSON")
  .addHelpText(
    "after",
    "\nExit codes: 0 nothing failed (there may be warnings) · 1 a check failed · 2 usage, or settings that can't be used · 3 interrupted",
  )
  .action(async (options) => (await import("./doctor/command.ts")).doctorCommand(options, signal))

program
  .command("console")
  .description("serve the operators' web page, until a signal stops it")
  .action(() => {
    throw new UsageError('"console" must be the first argument: unseal console')
  })
  .command("user")
  .description("print a line for the console's file of users; the password is asked for, or read from a pipe")
  .argument("<name>", "letters, digits, and any of . _ @ -")
  .addOption(
    new Option("--role <role>", "what the user may do").choices(["reader", "operator"]).default("reader"),
  )
  .action(async (name, options) =>
    (await import("./console-user.ts")).consoleUserCommand(name, options, signal),
  )

program
  .command("capacity")
  .description("estimate what a load needs: workers, processors, memory, Redis, requests and their price")
  .requiredOption("--archives-per-hour <count>", "the archives of your busiest hour")
  .requiredOption("--size <bytes>", "the size of an archive: 500MB, 1.5GiB")
  .option("--outage <time>", "how long archives must be able to wait in Redis", "1h")
  .option("--redis-memory <bytes>", "Redis' maxmemory; default: that of the manifests", "768MiB")
  .option("--worker-rate <bytes>", "what network and stores give one worker each second", "100MB")
  .option("--latency <time>", "the duration of one request to a store", "50ms")
  .option("--no-tls", "the stores are reached without TLS")
  .option("--price-reads <price>", "the price of 1,000 reads (GET, HEAD)")
  .option("--price-writes <price>", "the price of 1,000 writes (PUT, POST)")
  .option("--price-gb <price>", "the price of a GB in or out")
  .option("--json", "print the estimate as JSON")
  .addHelpText("after", "\ndocs/capacity.md has the arithmetic and its figures.")
  .action(async (options) => (await import("./capacity/command.ts")).capacityCommand(options))

// Only for the help: apps/entry.mjs loads their mains without this file.
for (const [name, does] of [
  ["ingest", "take callbacks and enqueue their archives, until a signal stops it"],
  ["worker", "decrypt the archives that are in the queue, until a signal stops it"],
  ["simulator", "play the vendor, with an S3 store: for trying and testing"],
] as const)
  program
    .command(name)
    .description(does)
    .action(() => {
      throw new UsageError(`"${name}" must be the first argument: unseal ${name}`)
    })

try {
  await program.parseAsync()
} catch (error) {
  // Commander itself has reported wrong usage.
  process.exitCode =
    error instanceof CommanderError ? (error.exitCode === 0 ? EXIT.done : EXIT.usage) : explain(error)
  // Anything still waiting, for example for a Redis that does not answer, has nothing more to report.
  if (signal.aborted) process.exit()
}
