/**
 * The customer's journey, command by command, on the running system. A new certificate is registered with the vendor while
 * archives under the old one still arrive. Then Redis forgets everything, and is recovered.
 */
import { copyFile } from "node:fs/promises"
import { basename, dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { runCli } from "@unseal/test/harness/process"
import { as } from "@unseal/test/harness/stores/policies"
import { PROJECT_ID, type System } from "@unseal/test/harness/system"
import { dim, heading, step } from "./screen.ts"

const MB = 1_000_000

/** Made up for one run, on loopback only. */
export const API_SECRET = "the-api-secret-of-the-demo"

/** A key pair that archives were encrypted for. */
export interface KeyPair {
  readonly keyFile: string
  readonly passphraseFile?: string
}

export interface Journey {
  /** How many archives the journey adds. */
  readonly archives: number
  /** Key pairs by archive id. An archive that is not here uses the system's own. */
  readonly keys: ReadonlyMap<string, KeyPair>
}

/** `decrypted` waits until that many archives are decrypted. */
export async function travel(system: System, decrypted: (count: number) => Promise<void>): Promise<Journey> {
  const before = (await system.archives()).length
  const keys = new Map<string, KeyPair>()
  const unseal = commandsFor(system)
  const keysDirectory = dirname(system.keyFile)
  const directory = dirname(keysDirectory)

  heading("A new certificate, while archives under the old one are still coming")
  await system.record({ size: 30 * MB, count: 3 })
  const [certificate, key] = [join(directory, "2027-cert.pem"), join(directory, "2027.pem")]
  await unseal("certificate", "create", "--generate-passphrase", "--out", certificate, "--keyout", key)
  await unseal("certificate", "check", certificate, "--key", key)
  for (const name of ["2027.passphrase", "2027.pem"])
    await copyFile(join(directory, name), join(keysDirectory, name))
  step("keys", "the new key lies beside the old one now; no process was restarted")
  const target = new URL(system.stores.source.replace(/^s3:/, "https:"))
  const endpoint = target.searchParams.get("endpoint")!
  await unseal.with(system.vendorEnv)(
    ...["storage", "set", "s3", "--bucket", target.hostname, "--endpoint", endpoint, "--region", "us-east-1"],
    ...["--certificate", certificate, "--verify"],
  )
  const known = new Set((await system.archives()).map(({ id }) => id))
  await system.record({ size: 5 * MB, count: 3 })
  await decrypted(before + 6)

  heading("Redis forgets everything; what the vendor's REST API lists is enqueued again")
  for (const worker of system.workers)
    if (worker.running()) {
      await worker.stop()
      step(worker.name, "stopped, so that what is recorded now waits in the queue")
    }
  await system.record({ size: 4 * MB, count: 4 })
  await until(
    async () =>
      (await system.archives()).filter(({ callbacks }) => wasAccepted(callbacks)).length === before + 10,
  )
  await system.redis.forget()
  step("redis", "FLUSHALL: the queue has lost four archives whose callbacks it had accepted")
  await system.startWorker()
  const destination = as("reconcile", system.stores.destination)
  await unseal.with({ UNSEAL_DESTINATION: destination })("archives", "reconcile", "--look-back", "1h")
  await decrypted(before + 10)

  for (const { id } of await system.archives())
    if (!known.has(id)) keys.set(id, { keyFile: key, passphraseFile: key.replace(/\.pem$/, ".passphrase") })
  return { archives: 10, keys }
}

/**
 * Runs `unseal ARGS` against the system, and shows it with its last lines of output. Throws if it fails. `with` adds settings;
 * `quietly` shows nothing, and resolves to what it prints.
 */
export function commandsFor(system: System) {
  const env = {
    ...system.env,
    UNSEAL_PROJECT_ID: PROJECT_ID,
    UNSEAL_SOURCE: system.stores.source,
    UNSEAL_DESTINATION: system.stores.destination,
    UNSEAL_KEYS: dirname(system.keyFile),
    UNSEAL_API_SECRET: API_SECRET,
    UNSEAL_API_URL: `http://127.0.0.1:${system.simulator.ports.rest}`,
  }
  const shown = (args: readonly string[]) =>
    args.map((arg) => (arg.startsWith("/") ? basename(arg) : arg)).join(" ")
  async function run(args: readonly string[], more: Readonly<Record<string, string>>) {
    const { code, stdout, stderr } = await runCli([...args], { env: { ...env, ...more } })
    if (code !== 0) throw new Error(`unseal ${shown(args)} ended with ${code}:\n${stdout}${stderr}`)
    return { stdout: stdout.toString(), stderr: stderr.toString() }
  }
  const showing =
    (more: Readonly<Record<string, string>>) =>
    async (...args: string[]): Promise<void> => {
      const { stdout, stderr } = await run(args, more)
      process.stdout.write(`  $ unseal ${shown(args)}\n`)
      const said = `${stdout}${stderr}`.trim().split("\n")
      for (const line of said.slice(-3))
        process.stdout.write(`    ${dim(line.replaceAll(`${dirname(dirname(system.keyFile))}/`, ""))}\n`)
    }
  return Object.assign(showing({}), {
    with: showing,
    quietly: async (...args: string[]): Promise<string> => (await run(args, {})).stdout,
  })
}

const wasAccepted = (callbacks: readonly { status: string; outcome: string }[]): boolean =>
  callbacks.some(({ status, outcome }) => status === "uploaded" && outcome === "accepted")

async function until(isSo: () => Promise<boolean>, seconds = 120): Promise<void> {
  for (const deadline = Date.now() + seconds * 1000; Date.now() < deadline; await sleep(200))
    if (await isSo()) return
  throw new Error(`ingest did not accept all callbacks of the simulated vendor within ${seconds} s`)
}
