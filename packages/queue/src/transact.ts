import type { ChainableCommander, Redis } from "ioredis"

/** The answers to what `fill` puts into a transaction. Rejects with the first error among them. */
export async function transact(
  connection: Redis,
  fill: (commands: ChainableCommander) => void,
): Promise<unknown[]> {
  for (let tries = 1; ; tries++) {
    const commands = connection.multi()
    fill(commands)
    const answers = (await commands.exec().catch(throwFirst)) ?? []
    const error = answers.find(([error]) => error)?.[0]
    if (!error) return answers.map(([, answer]) => answer)
    // A Redis that was restarted has forgotten the scripts, and among other commands the client can't send them after.
    if (tries > 1 || !error.message.startsWith("NOSCRIPT")) throw error
    for (const { lua } of Object.values<{ lua: string }>(connection.scriptsSet))
      await connection.script("LOAD", lua)
  }
}

/** Of a transaction that Redis did not even take (it is full, say), the reason is in the answer to one of its commands. */
function throwFirst(error: Error & { previousErrors?: readonly Error[] }): never {
  throw error.previousErrors?.[0] ?? error
}
