/** Who may import whom, and why. */
import { type Import, type SourceFile, workspaceOf } from "./sources.ts"

interface Rule {
  readonly reason: string
  /** The files that it holds for. */
  readonly where: RegExp
  readonly isForbidden: (imported: Import, file: SourceFile) => boolean
  /** An import in a file that would break it: a rule that lets this pass judges nothing. */
  readonly broken: readonly [path: string, specifier: string]
}

/** Every import of `files` that breaks the rule, as lines for a message. */
export function violations({ where, isForbidden }: Rule, files: readonly SourceFile[]): string[] {
  return files
    .filter((file) => where.test(file.path))
    .flatMap((file) =>
      file.imports
        .filter((imported) => isForbidden(imported, file))
        .map((imported) => `${file.path} imports ${imported.specifier}`),
    )
}

const within =
  (...patterns: RegExp[]) =>
  ({ target }: Import) =>
    patterns.some((pattern) => pattern.test(target))

/** `packages/archive/src/store/s3` of each file below it. */
const roomOf = (path: string) => path.split("/", 5).join("/")

export const RULES: readonly Rule[] = [
  {
    reason:
      "the format does no I/O and knows only errors and their words: it can be read, tested and replaced without a store or a queue",
    where: /^packages\/archive\/src\/format\//,
    isForbidden: (imported) =>
      !within(
        /^packages\/archive\/src\/(format\/|(errors|counted)\.ts$)/,
        /^node:(buffer|crypto|zlib)$/,
      )(imported),
    broken: ["packages/archive/src/format/cbc.ts", "node:fs"],
  },
  {
    reason:
      "a store knows the format's types, byte ranges and checksums, never its cryptography: storage knows nothing of keys",
    where: /^packages\/archive\/src\/store\//,
    isForbidden: (imported) =>
      within(
        /^packages\/archive\/src\/(?!store\/|(errors|counted|did-you-mean|request-outcome|waiting|format\/(crc32|parts))\.ts$)/,
      )(imported) && !(imported.typeOnly && within(/^packages\/archive\/src\/format\//)(imported)),
    broken: ["packages/archive/src/store/s3/store.ts", "../../format/cbc.ts"],
  },
  {
    reason: "the decryption sees the stores' contract, no adapter: it must not know where bytes live",
    where: /^packages\/archive\/src\/((decrypt|ordered|record)\/|(?!index\.ts$)[^/]+$)/,
    isForbidden: within(
      /^packages\/archive\/src\/store\/(?!contract\.ts$|small-object\.ts$)/,
      /^@aws-sdk\//,
      /^@azure\//,
      /^@smithy\//,
    ),
    broken: ["packages/archive/src/decrypt/archive.ts", "../store/s3/store.ts"],
  },
  {
    reason: "an adapter never imports another: what two need stands beside the contract, or in http/",
    where: /^packages\/archive\/src\/store\/(s3|azure|directory|https)\//,
    isForbidden: ({ target }, file) =>
      /^packages\/archive\/src\/store\/(s3|azure|directory|https)\//.test(target) &&
      roomOf(target) !== roomOf(file.path),
    broken: ["packages/archive/src/store/azure/store.ts", "../s3/errors.ts"],
  },
  {
    reason: "the AWS SDK is imported by the S3 adapter alone: an SDK's errors and shapes end at its adapter",
    where: /^(?!packages\/archive\/src\/store\/s3\/|apps\/simulator\/src\/s3\/)/,
    isForbidden: within(/^@aws-sdk\//, /^@smithy\//),
    broken: ["apps/worker/src/run/project-resources.ts", "@aws-sdk/client-s3"],
  },
  {
    reason:
      "the Azure SDK is imported by the Azure adapter alone: an SDK's errors and shapes end at its adapter",
    where: /^(?!packages\/archive\/src\/store\/azure\/)/,
    isForbidden: within(/^@azure\//),
    broken: ["packages/archive/src/store/open.ts", "@azure/storage-blob"],
  },
  {
    reason:
      "OpenTelemetry is imported where it is behind our own interface, and loaded only when tracing is on: off costs nothing",
    where: /^(packages|apps)\/(?!service\/src\/tracing\/(sdk|export)\.ts$)/,
    isForbidden: within(/^@opentelemetry\//),
    broken: ["apps/worker/src/trace/spans.ts", "@opentelemetry/api"],
  },
  {
    reason: "BullMQ is imported by packages/queue and the console alone: its traps are known in one place",
    where: /^(?!packages\/queue\/|apps\/console\/)/,
    isForbidden: within(/^bullmq$/),
    broken: ["apps/cli/src/queue/queue.ts", "bullmq"],
  },
  {
    reason:
      "the queue knows the archive's errors, how to wait, and the types of a checkpoint, which both write: nothing else of it",
    where: /^packages\/queue\//,
    isForbidden: (imported) =>
      within(/^packages\/(?!queue\/|archive\/src\/(errors|waiting)\.ts$)/)(imported) &&
      !(imported.typeOnly && within(/^packages\/archive\/src\/decrypt\/checkpoint\.ts$/)(imported)),
    broken: ["packages/queue/src/run/consumer.ts", "@unseal/vendor/client"],
  },
  {
    reason: "the frame of a process knows no archive but the form of a store URL, and no queue",
    where: /^packages\/service\//,
    isForbidden: within(/^packages\/(?!service\/|archive\/src\/(store\/url|did-you-mean)\.ts$)/),
    broken: ["packages/service/src/process.ts", "@unseal/vendor/client"],
  },
  {
    reason:
      "an archive is decrypted without its vendor: whoever has the file, the password and the key needs no more",
    where: /^packages\/archive\//,
    isForbidden: within(/^packages\/(?!archive\/)/),
    broken: ["packages/archive/src/decrypt/archive.ts", "@unseal/vendor/client"],
  },
  {
    reason:
      "the observer shows what the queue reports about itself: it knows no archive, no store and no vendor",
    where: /^packages\/observer\//,
    isForbidden: within(/^packages\/(?!(observer|queue|service)\/|archive\/src\/waiting\.ts$)/),
    broken: ["packages/observer/src/observer.ts", "@unseal/archive/store/open"],
  },
  {
    reason: "whoever speaks with the vendor knows no queue and no process: the command line uses it as well",
    where: /^packages\/vendor\//,
    isForbidden: within(/^packages\/(queue|service)\//),
    broken: ["packages/vendor/src/client.ts", "@unseal/queue/enqueue/producer"],
  },
  {
    reason:
      "an operation knows the stores' contract and errors, the records in them, the form of a password, the queue, the vendor's client and where a project's objects are: whoever runs it opens stores and reads settings",
    where: /^packages\/operations\//,
    isForbidden: (imported) =>
      !within(
        /^packages\/(operations|queue|vendor)\//,
        /^packages\/archive\/src\/(errors|waiting|did-you-mean|first-look|format\/password|store\/(notices|small-object))\.ts$/,
        /^packages\/archive\/src\/record\/(record|committed|same-source)\.ts$/,
        /^packages\/service\/src\/projects\/key-template\.ts$/,
        /^node:(crypto|stream|util|zlib)$/,
        /^zod$/,
      )(imported) &&
      !(
        imported.typeOnly &&
        within(/^packages\/(archive\/src\/(store|keys)\/contract|service\/src\/projects\/projects)\.ts$/)(
          imported,
        )
      ),
    broken: ["packages/operations/src/janitor.ts", "@unseal/archive/store/open"],
  },
  {
    reason: "operations stand on the other packages, and none of these stands on them: apps run them",
    where: /^packages\/(?!operations\/)/,
    isForbidden: within(/^packages\/operations\//),
    broken: ["packages/queue/src/run/consumer.ts", "@unseal/operations/redrive"],
  },
  {
    reason:
      "ingest and the workers administer nothing: they take in and decrypt, with the rights for that alone. Feeding a backfill needs no other rights",
    where: /^apps\/(ingest|simulator|worker)\//,
    isForbidden: (imported, file) =>
      within(/^packages\/operations\//)(imported) &&
      !(
        file.path.startsWith("apps/worker/src/backfill/") &&
        within(/^packages\/operations\/src\/backfill\//)(imported)
      ),
    broken: ["apps/worker/src/main.ts", "@unseal/operations/janitor"],
  },
  {
    reason: "a package never imports an app",
    where: /^packages\//,
    isForbidden: within(/^apps\//),
    broken: ["packages/archive/src/decrypt/archive.ts", "@unseal/simulator/recording/recording"],
  },
  {
    reason: "an app never imports another: what two need is a package",
    where: /^apps\//,
    isForbidden: (imported, file) =>
      within(/^apps\//)(imported) && workspaceOf(imported.target) !== workspaceOf(file.path),
    broken: ["apps/worker/src/main.ts", "@unseal/simulator/recording/recording"],
  },
  {
    reason: "the product never imports its tests or its demo",
    where: /^(packages|apps)\//,
    isForbidden: within(/^(test|demo)\//),
    broken: ["apps/worker/src/main.ts", "@unseal/test/harness/redis/redis"],
  },
  {
    reason: "a workspace is entered by its name, not by a path: only what it exports may be used",
    where: /^(packages|apps)\//,
    isForbidden: (imported, file) =>
      imported.specifier.startsWith(".") && workspaceOf(imported.target) !== workspaceOf(file.path),
    broken: ["apps/worker/src/main.ts", "../../../packages/queue/src/run/consumer.ts"],
  },
  {
    reason:
      "a key ring is opened by its URL: nobody but the table of schemes knows that keys are a directory",
    where: /^(?!packages\/archive\/src\/keys\/open\.ts$)/,
    isForbidden: within(/^packages\/archive\/src\/keys\/directory\.ts$/),
    broken: ["apps/worker/src/run/project-resources.ts", "@unseal/archive/keys/directory"],
  },
  {
    reason: "ingest holds no private key and no cloud credential",
    where: /^apps\/ingest\//,
    isForbidden: within(
      /^packages\/archive\/src\/(format\/key-ring|keys\/|decrypt\/|ordered\/|record\/|store\/)/,
    ),
    broken: ["apps/ingest/src/main.ts", "@unseal/archive/keys/directory"],
  },
]
