import { expect, it } from "vitest"
import { runCli } from "./process.ts"

it("kills a command that does not end, and the error has its output so far", async () => {
  const hanging = encodeURIComponent(
    'console.error("said so far"); setInterval(() => {}, 1e9); await new Promise(() => {})',
  )
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${hanging}` }
  const stuck = (boundMs: number) =>
    runCli(["queue", "status"], { env, boundMs }).then(
      ({ code }) => `ended with ${code}`,
      (error: Error) => error.message,
    )
  // A slow machine takes a while to print anything.
  let message = ""
  for (let boundMs = 1_000; boundMs <= 16_000 && !message.includes("said so far"); boundMs *= 4)
    message = await stuck(boundMs)
  expect(message).toMatch(
    /^unseal queue status had not ended after \d+ s and was killed\nstderr: said so far\n\nstdout: $/,
  )
})
