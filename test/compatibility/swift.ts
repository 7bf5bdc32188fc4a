/** OpenStack Swift with its S3 interface (s3api), as one node on loopback. */
import { mkdirSync, writeFileSync } from "node:fs"
import { userInfo } from "node:os"
import { join } from "node:path"
import { freePorts } from "../harness/network/free-port.ts"
import { ensureProgram } from "../harness/programs.ts"
import type { ForeignS3 } from "./foreign-store.ts"
import { createServerGroup, run } from "./server-process.ts"

/** Debian keeps Swift's modules where only its own Python finds them. */
const PYTHON = "/usr/bin/python3"

/** Swift's programs read swift.conf from /etc/swift whatever their own file says; this tells them another directory first. */
const LAUNCHER = `
import runpy, sys
from swift.common.utils import set_swift_dir
set_swift_dir(sys.argv[1])
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
`

const STORAGE = ["account", "container", "object"] as const

export async function startSwift(): Promise<ForeignS3> {
  const programs = new Map<string, string>()
  for (const name of [...STORAGE, "proxy"])
    programs.set(
      name,
      await ensureProgram(`swift-${name}-server`, {
        packages: { apt: `swift-${name}`, dnf: `openstack-swift-${name}` },
      }),
    )
  const ringBuilder = await ensureProgram("swift-ring-builder", { packages: { apt: "swift" } })

  const group = createServerGroup("swift")
  try {
    const { directory } = group
    mkdirSync(join(directory, "devices/disk"), { recursive: true })
    const file = (name: string, lines: readonly string[]) =>
      writeFileSync(join(directory, name), `${lines.join("\n")}\n`)
    file("swift.conf", [
      ...["[swift-hash]", "swift_hash_path_suffix = unseal", "swift_hash_path_prefix = unseal"],
      ...["[storage-policy:0]", "name = one", "default = yes"],
    ])
    const [proxyPort, ...storagePorts] = await freePorts(4)
    const common = (port: number) => [
      ...["[DEFAULT]", "bind_ip = 127.0.0.1", `bind_port = ${port}`, "workers = 0"],
      ...[`user = ${userInfo().username}`, `swift_dir = ${directory}`],
      ...[`devices = ${join(directory, "devices")}`, "mount_check = false", "log_address = /dev/null"],
    ]
    const start = (name: string, port: number) =>
      group.start(
        PYTHON,
        ["-c", LAUNCHER, directory, programs.get(name)!, join(directory, `${name}.conf`), "-v"],
        [port],
      )

    for (const [index, name] of STORAGE.entries()) {
      const port = storagePorts[index]!
      const builder = join(directory, `${name}.builder`)
      await run(ringBuilder, [builder, "create", "6", "1", "1"])
      await run(ringBuilder, [builder, "add", `r1z1-127.0.0.1:${port}/disk`, "1"])
      await run(ringBuilder, [builder, "rebalance"])
      file(`${name}.conf`, [
        ...common(port),
        ...["[pipeline:main]", `pipeline = ${name}-server`],
        ...[`[app:${name}-server]`, `use = egg:swift#${name}`],
      ])
      await start(name, port)
    }
    const filters = ["catch_errors", "gatekeeper", "cache", "listing_formats", "s3api", "tempauth", "bulk"]
    file("proxy.conf", [
      ...common(proxyPort!),
      ...["[pipeline:main]", `pipeline = ${[...filters, "slo", "dlo"].join(" ")} proxy-server`],
      ...["[app:proxy-server]", "use = egg:swift#proxy", "account_autocreate = true"],
      ...["[filter:tempauth]", "use = egg:swift#tempauth", "user_unseal_tester = testing .admin"],
      ...["[filter:cache]", "use = egg:swift#memcache", "memcache_servers = 127.0.0.1:1"],
      ...["[filter:s3api]", "use = egg:swift#s3api", "location = us-east-1"],
      ...["catch_errors", "gatekeeper", "listing_formats", "bulk", "slo", "dlo"].flatMap((name) => [
        `[filter:${name}]`,
        `use = egg:swift#${name}`,
      ]),
    ])
    await start("proxy", proxyPort!)
    return {
      endpoint: `http://127.0.0.1:${proxyPort}`,
      accessKeyId: "unseal:tester",
      secretAccessKey: "testing",
      close: group.close,
    }
  } catch (error) {
    await group.close()
    throw error
  }
}
