/**
 * Runs inside a network namespace, and relays connections from `HOST PORT` there to the Unix socket `PATH`, which both sides of
 * the namespace can see. Prints `ready` when it listens. Ends when its stdin does.
 */
import { connect, createServer } from "node:net"

const [host, port, path] = process.argv.slice(2)
const server = createServer({ noDelay: true }, (client) => {
  const onward = connect(path!)
  for (const [from, to] of [
    [client, onward],
    [onward, client],
  ] as const) {
    from.pipe(to)
    from.on("error", () => {})
    from.on("close", () => to.destroy())
  }
})
server.listen(Number(port), host, () => process.stdout.write("ready\n"))
process.stdin.resume().once("end", () => process.exit())
