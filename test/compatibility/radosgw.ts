/** Ceph's object gateway before a cluster of one monitor and one disk that is memory, on loopback. */
import { mkdirSync, writeFileSync } from "node:fs"
import { userInfo } from "node:os"
import { join } from "node:path"
import { freePorts } from "../harness/network/free-port.ts"
import { ensureProgram } from "../harness/programs.ts"
import type { ForeignS3 } from "./foreign-store.ts"
import { createServerGroup, run } from "./server-process.ts"

const KEYS = { accessKeyId: "UNSEALCOMPATIBILITY", secretAccessKey: "compatibility-secret-key" }
const CLUSTER_ID = "5a7c9f3e-0000-4000-8000-000000000001"

const program = (name: string, apt: string, dnf = apt) => ensureProgram(name, { packages: { apt, dnf } })

export async function startRadosgw(): Promise<ForeignS3> {
  const monitor = await program("ceph-mon", "ceph-mon")
  const disk = await program("ceph-osd", "ceph-osd")
  const ceph = await program("ceph", "ceph-common")
  const monmaptool = await program("monmaptool", "ceph-base")
  const gateway = await program("radosgw", "radosgw", "ceph-radosgw")
  const admin = await program("radosgw-admin", "ceph-common", "ceph-radosgw")

  const group = createServerGroup("radosgw")
  try {
    const { directory } = group
    const [monitorPort, gatewayPort] = await freePorts(2)
    const at = (name: string) => join(directory, name)
    for (const name of ["mon", "osd", "rgw", "run"]) mkdirSync(at(name))
    const config = at("ceph.conf")
    const { username } = userInfo()
    const settings = [
      ...["[global]", `fsid = ${CLUSTER_ID}`, `mon_host = v1:127.0.0.1:${monitorPort}`],
      // Everything is on loopback and gone in a minute: nobody is asked who they are.
      ...["auth_cluster_required", "auth_service_required", "auth_client_required"].map(
        (name) => `${name} = none`,
      ),
      ...["public_addr = 127.0.0.1", "cluster_addr = 127.0.0.1", "ms_bind_msgr2 = false"],
      ...[`run_dir = ${at("run")}`, `admin_socket = ${at("run")}/$cluster-$name.asok`],
      ...[
        `pid_file = ${at("run")}/$name.pid`,
        `log_file = ${at("$name.log")}`,
        "mon_cluster_log_file = /dev/null",
      ],
      ...[`crash_dir = ${at("run")}`, `keyring = ${at("keyring")}`],
      ...["osd_pool_default_size = 1", "osd_pool_default_min_size = 1", "mon_allow_pool_size_one = true"],
      ...["osd_pool_default_pg_num = 4", "osd_pool_default_pgp_num = 4", "mon_max_pg_per_osd = 1000"],
      ...["osd_pool_default_pg_autoscale_mode = off", "osd_crush_chooseleaf_type = 0"],
      ...["mon_data_avail_warn = 1", "mon_data_avail_crit = 0"],
      // A disk that asks the monitor for its place may ask too early when nobody authenticates, and then gives up. So it is told.
      ...["osd_class_update_on_start = false", "osd_crush_update_on_start = false"],
      ...["osd_objectstore = memstore", `osd_data = ${at("osd")}`, `mon_data = ${at("mon")}`],
      ...["memstore_device_bytes = 4294967296", `rgw_data = ${at("rgw")}`],
      ...[`rgw_frontends = beast endpoint=127.0.0.1:${gatewayPort}`, "rgw_dns_name = localhost"],
    ]
    writeFileSync(config, `${settings.join("\n")}\n`)
    writeFileSync(at("keyring"), "")
    const common = ["--conf", config]
    const foreground = ["--foreground", "--setuser", username, "--setgroup", username]

    const monmap = at("monmap")
    const address = `[v1:127.0.0.1:${monitorPort}]`
    await run(monmaptool, ["--create", "--addv", "a", address, "--fsid", CLUSTER_ID, monmap])
    await run(monitor, [...common, "--id", "a", "--mkfs", "--monmap", monmap])
    await group.start(monitor, [...common, ...foreground, "--id", "a"], [monitorPort!])

    await run(ceph, [...common, "--connect-timeout", "60", "osd", "new", CLUSTER_ID, "0"])
    await run(ceph, [...common, "osd", "crush", "add", "osd.0", "1", "root=default", "host=one"])
    await run(disk, [...common, "--id", "0", "--mkfs", "--osd-uuid", CLUSTER_ID])
    await group.start(disk, [...common, ...foreground, "--id", "0"], [])
    await run(
      admin,
      [
        ...[...common, "user", "create", "--uid", "unseal", "--display-name", "Unseal"],
        ...["--access-key", KEYS.accessKeyId, "--secret-key", KEYS.secretAccessKey],
      ],
      { timeout: 120_000 },
    )
    await group.start(gateway, [...common, ...foreground, "--id", "rgw"], [gatewayPort!])
    return { endpoint: `http://127.0.0.1:${gatewayPort}`, ...KEYS, close: group.close }
  } catch (error) {
    await group.close()
    throw error
  }
}
