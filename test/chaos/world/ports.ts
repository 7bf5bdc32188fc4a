import { once } from "node:events"
import { createServer } from "node:net"

/** Below the ports that the system assigns to connections (`ip_local_port_range` begins at 32768). */
const [FIRST, LAST] = [20_000, 30_000]

/** A free port that no outgoing connection can take while its owner restarts. */
export async function lastingPort(): Promise<number> {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * (LAST - FIRST))
    if (await isFree(port)) return port
  }
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer().listen(port, "127.0.0.1")
  try {
    await once(server, "listening")
    return true
  } catch {
    return false
  } finally {
    server.close()
  }
}
