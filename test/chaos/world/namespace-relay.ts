/**
 * Runs inside a network namespace: passes connections on from `HOST PORT` there to the Unix socket `PATH`, which both sides of
 * a namespace can see. Says `ready` when it listens, and ends when its input does.
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
