import { mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { type RedisServer, startRedis } from "../harness/redis/redis.ts"
import { type Endpoint, startEndpoint } from "./endpoint.ts"
import { buildNative, type Native } from "./native.ts"
import type { BenchOptions } from "./options.ts"
import { createRecording, type Digest, digestByOpenssl, type Recording } from "./recording.ts"

/** What the chapters share. */
export interface Bench {
  readonly options: BenchOptions
  readonly native: Native
  readonly recording: Recording
  readonly endpoint: Endpoint
  /** In memory, if the machine has such a file system. Nothing that is measured is kept here. */
  readonly directory: string
  /** On the disk. */
  readonly diskDirectory: string
  /** The bench's own Redis, with `appendfsync always`. All chapters share it. */
  redis(): Promise<RedisServer>
  /** The expected plaintext of an archive of `size` bytes. */
  expected(size: number): Promise<Digest>
  /** Prints progress. */
  say(text: string): void
  close(): Promise<void>
}

const MIB = 1024 * 1024

export async function openBench(options: BenchOptions): Promise<Bench> {
  const memory = statSync("/dev/shm", { throwIfNoEntry: false }) ? "/dev/shm" : tmpdir()
  const directory = mkdtempSync(join(memory, "unseal-bench-"))
  const diskDirectory = mkdtempSync(join(tmpdir(), "unseal-bench-"))
  const closing: (() => unknown)[] = []
  process.on("exit", () => {
    for (const path of [directory, diskDirectory]) rmSync(path, { recursive: true, force: true })
  })
  const say = (text: string) => void process.stderr.write(`${text}\n`)

  const bin = join(directory, "bin")
  mkdirSync(bin)
  say("compiling the endpoint, the floor and the load generator")
  const native = await buildNative(bin)
  // Larger than the processor's caches, so that reading it costs what reading an archive does.
  const recording = await createRecording(directory, (options.quick ? 64 : 256) * MIB)
  const endpoint = await startEndpoint(native, recording.patternFile, directory)
  closing.push(() => endpoint.close())

  let redis: Promise<RedisServer> | undefined
  const digests = new Map<number, Promise<Digest>>()
  return {
    ...{ options, native, recording, endpoint, directory, diskDirectory, say },
    redis() {
      redis ??= startRedis().then((server) => {
        closing.push(() => server.close())
        return server
      })
      return redis
    },
    expected(size) {
      let digest = digests.get(size)
      if (!digest) {
        digest = digestByOpenssl(recording, endpoint, size)
        digests.set(size, digest)
      }
      return digest
    },
    async close() {
      for (let undo = closing.pop(); undo; undo = closing.pop()) await undo()
    },
  }
}
