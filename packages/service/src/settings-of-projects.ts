/** The projects: in a file, or a single one in variables, with its stores, keys, callbacks and credentials for the vendor's REST API. */
import type { SettingRow } from "./setting-row.ts"

export const PROJECT_SETTINGS = {
  UNSEAL_PROJECTS_FILE: {
    for: ["ingest", "worker", "cli"],
    default: null,
    meaning: "JSON or YAML file with any number of projects, instead of the variables of a single one",
  },
  UNSEAL_PROJECT_ID: {
    for: ["ingest", "worker", "cli"],
    default: null,
    meaning: "the single project: an OpenTok API key or a Vonage application",
  },
  UNSEAL_PLATFORM: {
    for: ["cli", "worker"],
    default: null,
    meaning: "the vendor's platform; unset, the form of the project's id decides",
  },
  UNSEAL_API_AUTH: {
    for: ["cli", "worker"],
    default: null,
    meaning: "how requests to the vendor's REST API are authenticated; unset, as the platform does",
  },
  UNSEAL_API_SECRET: {
    for: ["cli", "worker"],
    default: null,
    meaning: "the project's API secret, for the REST API (`opentok` and `basic`)",
    secret: true,
  },
  UNSEAL_APPLICATION_KEY: {
    for: ["cli", "worker"],
    default: null,
    meaning: "private key (PEM) of the Vonage application, for the REST API; not a key of archives",
    secret: true,
  },
  UNSEAL_API_URL: {
    for: ["cli", "worker"],
    default: null,
    meaning: "base URL of the vendor's REST API, if it is not the platform's",
  },
  UNSEAL_FALLBACK_WORD: {
    for: ["cli"],
    default: null,
    meaning:
      "the REST API's word for keeping an archive with the vendor when its upload fails; unset, the platform's own",
  },
  UNSEAL_SOURCE: {
    for: ["worker", "cli"],
    default: null,
    meaning: "store URL that the vendor uploads encrypted archives to",
  },
  UNSEAL_DESTINATION: {
    for: ["worker", "cli"],
    default: null,
    meaning: "store URL that the plaintext is written to",
  },
  UNSEAL_SOURCE_KEYS: {
    for: ["worker", "cli"],
    default: "{projectId}/{archiveId}/archive.ts,{projectId}/{archiveId}/archive.mp4",
    meaning: "templates of the source key, tried in this order, separated by commas",
  },
  UNSEAL_DESTINATION_KEY: {
    for: ["worker", "cli"],
    default: "{projectId}/{archiveId}/archive.ts",
    meaning: "template of the destination key",
  },
  UNSEAL_KEYS: {
    for: ["worker", "cli"],
    default: null,
    meaning:
      "key ring: a directory with the private keys, `*.pem`, and the passphrase of `NAME.pem` in `NAME.passphrase`; its path, or `file:///directory`",
    formerly: "UNSEAL_KEYS_DIR",
  },
  UNSEAL_CALLBACK_AUTH: {
    for: ["ingest"],
    default: "signed",
    meaning: "how a callback proves its origin",
  },
  UNSEAL_SIGNATURE_SECRET: {
    for: ["ingest"],
    default: null,
    meaning: "signature secret of `signed` callbacks; two, separated by a comma, while it is being rotated",
    secret: true,
  },
  UNSEAL_CALLBACK_TOKEN: {
    for: ["ingest"],
    default: null,
    meaning: "the secret last segment of the callback URL when callbacks are authenticated by `token`",
    secret: true,
  },
} as const satisfies Record<string, SettingRow>
