import type { ChainableCommander, Redis } from "ioredis"

/**
 * The answers to what `fill` puts into a transaction; as a `pipeline`, other clients' commands may come in between, and Redis
 * answers half as often. Rejects with the first error among the answers.
 */
export async function transact(
  connection: Redis,
  fill: (commands: ChainableCommander) => void,
  kind: "multi" | "pipeline" = "multi",
): Promise<unknown[]> {
  for (let tries = 1; ; tries++) {
    const commands = connection[kind]()
    fill(commands)
    const answers = (await commands.exec()) ?? []
    const error = answers.find(([error]) => error)?.[0]
    if (!error) return answers.map(([, answer]) => answer)
    // A Redis that was restarted has forgotten the scripts, and among other commands the client can't send them after.
    if (tries > 1 || !error.message.startsWith("NOSCRIPT")) throw error
    for (const { lua } of Object.values<{ lua: string }>(connection.scriptsSet))
      await connection.script("LOAD", lua)
  }
}
