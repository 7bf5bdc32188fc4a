/** Settings of the operators' web page. */
import type { SettingRow } from "./row.ts"

export const CONSOLE_SETTINGS = {
  UNSEAL_CONSOLE_URL: {
    for: ["console"],
    default: null,
    meaning:
      "the console's URL in browsers, if it has a host name. The console answers to this name, to addresses and to `localhost` only. With `https`, its cookie is sent over TLS only. A proxy in front must pass `Host` on",
  },
  UNSEAL_CONSOLE_USERS_FILE: {
    for: ["console"],
    default: null,
    meaning:
      "file with a line `NAME:HASH:ROLE` for each user, as `unseal console user NAME` prints it; the role is `reader` or `operator`. It is read again when it changes. Without users, a proxy must name the user",
  },
  UNSEAL_CONSOLE_SECRET: {
    for: ["console"],
    default: null,
    meaning:
      "secret that signs sessions. Unset, each start makes its own, so everybody signs in again, and there can be only one replica",
    secret: true,
  },
  UNSEAL_CONSOLE_PROXY_HEADER: {
    for: ["console"],
    default: null,
    meaning:
      "header in which an authenticating proxy names the user. The proxy must remove this header from the requests that it receives",
  },
  UNSEAL_CONSOLE_PROXY_NETWORKS: {
    for: ["console"],
    default: null,
    meaning: "networks of that proxy: the header is ignored from anybody else",
  },
  UNSEAL_CONSOLE_PROXY_OPERATORS: {
    for: ["console"],
    default: null,
    meaning: "which of the proxy's names are operators; `*` for all. The others are readers",
  },
  UNSEAL_CONSOLE_WRITE: {
    for: ["console"],
    default: "0",
    meaning:
      "whether operators may redrive dead letters and end suspensions here. Otherwise the console is read-only",
  },
  UNSEAL_CONSOLE_BOARD: {
    for: ["console"],
    default: "0",
    meaning:
      "whether the console has [bull-board](console.md#bull-board), which shows the queue's internals, at `/board/`. It only reads, and gets no passwords and no URLs",
  },
} as const satisfies Record<string, SettingRow>
