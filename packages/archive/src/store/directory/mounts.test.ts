import { expect, test } from "vitest"
import { mountOf, readMounts } from "./mounts.ts"

const MOUNTS = `22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
25 22 0:23 / /dev/shm rw,nosuid - tmpfs tmpfs rw
98 22 0:52 / /mnt rw - nfs4 nas:/all rw
99 98 0:53 / /mnt/two\\040words rw - nfs4 nas:/more rw
`

test.each([
  ["/mnt", "/mnt"],
  ["/mnt/recordings/123456", "/mnt"],
  ["/mnt/two words/123456", "/mnt/two words"],
  ["/mnt/two", "/mnt"],
  ["/mntx/recordings", undefined],
  ["/var/recordings", undefined],
  ["/", undefined],
])("the mount of %s is %s", (directory, mount) => {
  expect(mountOf(directory, MOUNTS)).toBe(mount)
})

test("without a list of mounts there are none", () => {
  expect(mountOf("/mnt/recordings", "")).toBeUndefined()
})

test("the list comes from the system", () => {
  expect(mountOf("/proc/self", readMounts())).toBe("/proc")
})
