import { expect, test } from "vitest"
import { serverMode } from "./reach.ts"

test("a server's mode is read from what Redis and Valkey say", () => {
  expect(serverMode("# Server\r\nredis_version:8.0.2\r\nredis_mode:cluster\r\nos:Linux\r\n")).toBe("cluster")
  const valkey = "# Server\r\nredis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.1.1\r\n"
  expect(serverMode(`${valkey}server_mode:sentinel\r\nos:Linux\r\n`)).toBe("sentinel")
  expect(serverMode("")).toBeUndefined()
})
