import { rename, writeFile } from "node:fs/promises"
import { join } from "node:path"
import type { FaultHandle } from "@unseal/simulator/s3/faults/plan"
import { inWorld, type Row } from "../row.ts"
import { SECOND_CREDENTIAL } from "../settings.ts"
import { DEMAND, throughTrouble } from "../trouble.ts"
import type { World, WorldOptions } from "../world/world.ts"

const PROFILE = "second"

/** Takes the second project's credentials from a profile in a file, so that only they can fail. */
export function withProfile(): { readonly second: NonNullable<WorldOptions["second"]>; file(): string } {
  let file = ""
  return {
    file: () => file,
    async second({ directory, stores }) {
      file = join(directory, "credentials")
      const { accessKeyId, secretAccessKey } = SECOND_CREDENTIAL
      await writeFile(
        file,
        `[${PROFILE}]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`,
      )
      const own = (url: string) => `${url}&profile=${PROFILE}`
      return {
        ...{ source: own(stores.source), destination: own(stores.destination) },
        env: { AWS_SHARED_CREDENTIALS_FILE: file, AWS_CONFIG_FILE: join(directory, "config") },
      }
    },
  }
}

/** Makes the store refuse the key. */
const refusing = (world: World, status: number, code: string): FaultHandle =>
  world.s3.faults.add({
    ...{ operation: "*", accessKeyId: SECOND_CREDENTIAL.accessKeyId, times: Number.POSITIVE_INFINITY },
    action: { status, code },
  })

/** The old key is revoked, and the file with the new one is missing: a mount, a sidecar or an agent that is away. */
export const credentialsGone: Row = {
  name: "credentials-gone",
  fault: "a project's credentials have run out and no others can be had for two minutes",
  demand: DEMAND,
  run(options) {
    const { second, file } = withProfile()
    return inWorld(options, { second }, (world) => {
      let refused: FaultHandle | undefined
      return throughTrouble(world, options, {
        what: "the credentials have run out, their file is gone",
        async begin() {
          await rename(file(), `${file()}.gone`)
          refused = refusing(world, 400, "ExpiredToken")
        },
        async end() {
          refused?.remove()
          await rename(`${file()}.gone`, file())
        },
      })
    })
  },
}

/** The store refuses the key: it was revoked, or its session has expired, and nobody has supplied another yet. */
export const credentialsRefused: Row = {
  name: "credentials-refused",
  fault: "a project's credentials are refused for two minutes: InvalidAccessKeyId, then ExpiredToken",
  demand: DEMAND,
  run(options) {
    const { second } = withProfile()
    return inWorld(options, { second }, (world) => {
      let refused: FaultHandle | undefined
      return throughTrouble(world, options, {
        what: "the credentials are refused",
        begin() {
          refused = refusing(world, 403, "InvalidAccessKeyId")
        },
        halfway() {
          refused?.remove()
          refused = refusing(world, 400, "ExpiredToken")
        },
        end: () => refused?.remove(),
      })
    })
  },
}

const ALL = { Effect: "Allow", Action: "s3:*", Resource: "*" } as const
const READ = ["s3:GetObject", "s3:ListBucket"]

/** Somebody changes a policy and changes it back: for the destination, then for the source, then for both. */
export const permissionsGone: Row = {
  name: "permissions-gone",
  fault: "a project's permissions are taken away for two minutes: to write, then to read as well",
  demand: DEMAND,
  run(options) {
    const { second } = withProfile()
    return inWorld(options, { second }, (world) => {
      const { accessKeyId } = SECOND_CREDENTIAL
      const { policies } = world.s3
      return throughTrouble(world, options, {
        what: "the permissions are gone",
        begin: () => policies.set(accessKeyId, { Statement: { ...ALL, Action: READ } }),
        halfway: () => policies.set(accessKeyId, { Statement: [] }),
        end: () => policies.delete(accessKeyId),
      })
    })
  },
}
