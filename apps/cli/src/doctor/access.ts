/** How the doctor reaches what the settings name. */
import { openKeyRing } from "@unseal/archive/keys/open"
import { openStore } from "@unseal/archive/store/open"
import type { DoctorAccess } from "@unseal/operations/doctor/doctor"
import { ConfigurationError } from "@unseal/service/settings/settings"
import { createVendorClient } from "@unseal/vendor/client"
import { env, type readDoctorSettings } from "../config.ts"
import { connectQueue } from "../queue/connection.ts"

export function accessOf({ settings, vendors }: ReturnType<typeof readDoctorSettings>): DoctorAccess {
  return {
    async connectRedis(signal) {
      if (settings instanceof ConfigurationError) throw settings
      const connection = await connectQueue(settings, signal)
      return { connection, close: () => connection.disconnect() }
    },
    openStore: (url, onNotice) => openStore(url, { env, onNotice }),
    openKeyRing: (location) =>
      openKeyRing(
        location,
        settings instanceof ConfigurationError ? {} : { oaepHash: settings.UNSEAL_OAEP_HASH },
      ),
    openVendor(projectId) {
      const project = vendors.get(projectId)
      if (project === undefined) return "its credentials can't be used: see the settings of worker"
      const { platform, credentials, apiUrl } = project
      if (credentials === undefined)
        return "it has no credentials for the REST API, which only the vendor's copies, reconcile and redrive --committed need"
      return createVendorClient({ platform, projectId, credentials, baseUrl: apiUrl, attempts: 1 })
    },
  }
}
