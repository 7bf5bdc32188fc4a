/** The console's application on a port of its own, with users, on a given queue. */
import type { AddressInfo } from "node:net"
import { listen } from "@unseal/service/admin"
import { createLimitedServer } from "@unseal/service/http/limited-server"
import { parseNetworks } from "@unseal/service/http/networks"
import { createLogger } from "@unseal/service/log/logger"
import { createRegistry } from "@unseal/service/metrics"
import { hashPassword } from "@unseal/service/password-hash"
import type { Redis } from "ioredis"
import { createSessions } from "../../apps/console/src/access/sessions.ts"
import { createSignInDesk } from "../../apps/console/src/access/sign-in.ts"
import type { Role, User } from "../../apps/console/src/access/users.ts"
import { createVisitors } from "../../apps/console/src/access/visitor.ts"
import { createActions } from "../../apps/console/src/actions.ts"
import { createApp } from "../../apps/console/src/app.ts"
import { createBoard } from "../../apps/console/src/board/routes.ts"
import { createBoardView } from "../../apps/console/src/board/view.ts"
import { createConsoleMetrics } from "../../apps/console/src/metrics.ts"
import { createQueueView } from "../../apps/console/src/queue-view.ts"

export const PASSWORD_OF = { rita: "a reader's password", otto: "an operator's password" } as const
export type UserName = keyof typeof PASSWORD_OF
const ROLE_OF: Readonly<Record<UserName, Role>> = { rita: "reader", otto: "operator" }

/** The least that is accepted. */
const CHEAP = { N: 2 ** 14, r: 8, p: 1 }

/** The users' hashes are made once. */
let making: Promise<ReadonlyMap<string, User>> | undefined
const users = () => {
  making ??= Promise.all(
    Object.entries(PASSWORD_OF).map(async ([name, password]) => {
      const user = {
        name,
        hash: await hashPassword(Buffer.from(password), CHEAP),
        role: ROLE_OF[name as UserName],
      }
      return [name, user] as const
    }),
  ).then((pairs) => new Map(pairs))
  return making
}

export interface ConsoleApp {
  readonly base: string
  readonly users: Map<string, User>
  readonly logs: Record<string, unknown>[]
  /** Cookie and headers of somebody who has signed in, without the form. */
  as(name: UserName): Record<string, string>
  get(path: string, headers?: Record<string, string>): Promise<Response>
  /** Sends a form as one of the console's own pages does. */
  post(path: string, fields: Record<string, string>, headers?: Record<string, string>): Promise<Response>
  /** The token in the forms of whoever sends `headers`. */
  tokenOf(headers: Record<string, string>): Promise<string>
  metrics(): Promise<string>
  close(): Promise<void>
}

export async function startConsoleApp(
  { client, name }: { readonly client: Redis; readonly name: string },
  options: {
    readonly writes?: boolean
    /** Takes names from the header `x-user` of these networks. */
    readonly proxyNetworks?: string
    readonly proxyOperators?: readonly string[]
    /** `false`: only a proxy says who somebody is. */
    readonly hasDesk?: boolean
    readonly publicUrl?: URL
    readonly now?: () => number
    /** Whether bull-board is switched on. */
    readonly board?: boolean
  } = {},
): Promise<ConsoleApp> {
  const logs: Record<string, unknown>[] = []
  const logger = createLogger("console", "debug", { write: (line) => void logs.push(JSON.parse(line)) })
  const registry = createRegistry()
  const metrics = createConsoleMetrics(registry)
  const known = new Map(await users())
  const userOf = (one: string) => known.get(one)
  const sessions = createSessions("a secret of thirty-two characters or more", userOf, options.now)
  const actions = createActions({ access: { connection: client, queue: name }, logger, metrics })
  const app = createApp({
    view: createQueueView(client, name),
    visitors: createVisitors({
      sessions,
      permitsActions: options.writes ?? false,
      ...(options.proxyNetworks && {
        proxy: {
          header: "x-user",
          networks: parseNetworks(options.proxyNetworks),
          operators: options.proxyOperators ?? [],
        },
      }),
    }),
    desk: options.hasDesk === false ? null : createSignInDesk(userOf, { now: options.now, cost: CHEAP }),
    publicUrl: options.publicUrl,
    board: options.board ? createBoard(createBoardView(client, name)) : undefined,
    ...{ sessions, actions, metrics, logger },
  })
  const { server, drain } = createLimitedServer(app)
  await listen(server, 0, "127.0.0.1")
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const get: ConsoleApp["get"] = (path, headers = {}) => fetch(base + path, { headers, redirect: "manual" })
  return {
    ...{ base, users: known, logs, get },
    as: (one) => ({ cookie: `unseal=${sessions.begin(known.get(one)!)}` }),
    post: (path, fields, headers = {}) =>
      fetch(base + path, {
        method: "POST",
        body: new URLSearchParams(fields),
        headers: { origin: base, ...headers },
        redirect: "manual",
      }),
    async tokenOf(headers) {
      const text = await (await get("/actions", headers)).text()
      return /name="token" value="([\w-]+)"/.exec(text)?.[1] ?? ""
    },
    metrics: () => registry.metrics(),
    async close() {
      server.closeAllConnections()
      await Promise.all([drain(), actions.close()])
    },
  }
}
