import type { AddressInfo } from "node:net"
import { listen, startAdminServer } from "@unseal/service/admin"
import { createLimitedServer } from "@unseal/service/http/limited-server"
import { createRegistry } from "@unseal/service/metrics"
import { runProcess } from "@unseal/service/process"
import { reachRedis } from "@unseal/service/redis/reach"
import { connectRedis } from "@unseal/service/redis/redis"
import { createSessions } from "./access/sessions.ts"
import { createSignInDesk } from "./access/sign-in.ts"
import { createVisitors } from "./access/visitor.ts"
import { createActions } from "./actions.ts"
import { createApp } from "./app.ts"
import { type BoardView, createBoardView } from "./board/view.ts"
import { readConfig } from "./config.ts"
import { createConsoleMetrics } from "./metrics.ts"
import { createQueueView } from "./queue-view.ts"

const isLoopback = (host: string | undefined): boolean =>
  host !== undefined && (host === "localhost" || host === "::1" || host.startsWith("127."))

/** Loads bull-board's packages only if it is switched on. */
const loadBoard = async (view: BoardView) => (await import("./board/routes.ts")).createBoard(view)

/** The console's process, from its settings to its end (`runProcess`). */
export const runConsole = (): Promise<void> =>
  runProcess("console", async ({ logger, configureLog }) => {
    const config = readConfig()
    configureLog(config)
    const registry = createRegistry()
    const metrics = createConsoleMetrics(registry)
    await reachRedis(config)
    const redis = connectRedis(config, "producer", logger)
    const { users, UNSEAL_QUEUE: queue, UNSEAL_CONSOLE_PROXY_HEADER: header } = config
    const { UNSEAL_CONSOLE_PROXY_NETWORKS: networks, UNSEAL_TRUSTED_PROXIES: proxies } = config
    users?.onInvalid((problems) =>
      logger.error({ problems }, "file of users can't be used: the users stay as they were"),
    )
    if (users !== null && config.UNSEAL_CONSOLE_URL?.protocol !== "https:" && !isLoopback(config.UNSEAL_HOST))
      logger.warn(
        {
          hint: "put a proxy with TLS in front, and set UNSEAL_CONSOLE_URL to its https:// URL; or UNSEAL_HOST=127.0.0.1",
        },
        "passwords travel unencrypted unless the console is reached through loopback",
      )
    const userOf = (name: string) => users?.get(name)
    const sessions = createSessions(config.UNSEAL_CONSOLE_SECRET, userOf)
    const actions = createActions({
      access: { connection: redis, queue },
      ...{ logger, metrics },
    })
    const operators = (config.UNSEAL_CONSOLE_PROXY_OPERATORS ?? "").split(",").map((name) => name.trim())
    const board = config.UNSEAL_CONSOLE_BOARD ? await loadBoard(createBoardView(redis, queue)) : undefined
    const app = createApp({
      view: createQueueView(redis, queue),
      visitors: createVisitors({
        sessions,
        ...(header !== undefined && networks !== undefined && { proxy: { header, networks, operators } }),
        permitsActions: config.UNSEAL_CONSOLE_WRITE,
      }),
      desk: users === null ? null : createSignInDesk(userOf),
      publicUrl: config.UNSEAL_CONSOLE_URL,
      ...{ sessions, actions, metrics, logger, proxies, board },
    })
    const { server, drain } = createLimitedServer(app, {
      isProxy: (address) => proxies?.has(address) === true || networks?.has(address) === true,
    })
    let draining = false
    await listen(server, config.UNSEAL_PORT, config.UNSEAL_HOST, "UNSEAL_PORT")
    const admin = await startAdminServer({
      port: config.UNSEAL_ADMIN_PORT,
      host: config.UNSEAL_HOST,
      registry,
      logger,
      ready: async () => [
        ...(draining ? ["draining"] : []),
        ...(redis.status === "ready" && (await redis.ping()) === "PONG" ? [] : ["redis is not connected"]),
      ],
    })
    return {
      ports: { http: (server.address() as AddressInfo).port, admin: admin.port },
      async stop() {
        draining = true
        await Promise.all([drain(), actions.close()])
        redis.disconnect()
        await admin.close()
      },
    }
  })
