/** `docs/simulator.md`: the simulated vendor, with its settings and its S3 server's quirks as the code has them. */
import { QUIRKS } from "@unseal/simulator/s3/quirks/quirks"
import { settingRows } from "@unseal/simulator/settings"
import { code, generated, table } from "./markdown.ts"

const oneOf = (choices: readonly string[]): string =>
  choices.length === 0
    ? ""
    : `: ${choices
        .map(code)
        .join(", ")
        .replace(/, ([^,]+)$/, " or $1")}`

const settings = (): string =>
  table(
    ["name", "default", "meaning"],
    settingRows().map((row) => [
      code(row.name),
      row.default === null ? "–" : code(row.default),
      `${row.meaning}${oneOf(row.choices)}${row.secret ? ` (or ${code(`${row.name}_FILE`)})` : ""}`,
    ]),
  )

const quirks = (): string =>
  table(
    ["name", "the store then"],
    Object.entries(QUIRKS).map(([name, { meaning }]) => [code(name), meaning]),
  )

const control = (): string =>
  table(
    ["endpoint", "does"],
    [
      [
        code("POST /archives"),
        "records archives: `size` in bytes, and if wished `count`, `tail`, `exact` (exactly `size` bytes of ciphertext), `name`, `statuses` (which callbacks, in which order), `duplicates`, `reason`, `url`. Answers 202 at once",
      ],
      [code("GET /archives"), "lists them, the newest first, with what became of each callback"],
      [
        code("GET /archives/{id}"),
        "shows one, with its wrapped password and the SHA-256 of its plaintext and ciphertext",
      ],
    ],
  )

const rest = (): string =>
  table(
    ["endpoint", "does", "refuses"],
    [
      [
        code("POST /session/create"),
        "creates a session. With `archiveMode=always` its archive starts at once",
        "400: `archiveMode=always` in a session without the media router",
      ],
      [
        code("POST /v2/project/{id}/archive"),
        "starts an archive of a session, of the next size in `SIMULATOR_SIZES_BYTES`",
        "400: what can't be encrypted. 404: no such session. 409: no media router, or it is being recorded under the same `multiArchiveTag`",
      ],
      [
        code("POST /v2/project/{id}/archive/{archiveId}/stop"),
        "stops it. Encryption, upload and callbacks follow",
        "404: no such archive. 409: it is not being recorded",
      ],
      [
        code("GET /v2/project/{id}/archive"),
        "lists archives, the newest first, by `offset`, `count` (up to 1,000) and `sessionId`",
        "400: a number that is none",
      ],
      [code("GET /v2/project/{id}/archive/{archiveId}"), "shows one", "404: no such archive"],
      [
        code("DELETE /v2/project/{id}/archive/{archiveId}"),
        "deletes one",
        "404: no such archive. 409: it is neither `uploaded` nor `available`",
      ],
      [
        code("PUT /v2/project/{id}/archive/storage"),
        "sets where archives are uploaded to, under which certificate, and with which fallback, from the next archive on",
        "400: whatever the vendor refuses, a key of more than 2,048 bits among it",
      ],
    ],
  )

const START = `\`\`\`sh
export AWS_ACCESS_KEY_ID=me
export AWS_SECRET_ACCESS_KEY=made-up
SIMULATOR_S3_PORT=9000 SIMULATOR_CERTIFICATE_FILE=/tmp/cert.pem SIMULATOR_KEY_FILE=/tmp/key.pem npm run start:simulator
\`\`\``

const RECORD = `\`\`\`sh
curl -sS http://127.0.0.1:8082/archives -d '{ "size": 5000000, "count": 2 }'
curl -sS http://127.0.0.1:8082/archives
\`\`\``

const POLICIES = `\`\`\`json
{
  "reader": {
    "secretAccessKey": "made-up-too",
    "policies": [
      {
        "Version": "2012-10-17",
        "Statement": [
          { "Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::recordings/*" }
        ]
      }
    ]
  }
}
\`\`\``

export function simulatorDocument(): string {
  return generated(
    "The simulator",
    "The other side, on one machine: a recording cloud that makes MPEG-TS archives, encrypts them as the vendor does, uploads them and calls back. It can also bring the vendor's REST API and an S3 server. It is for trying and testing, not for production. `npm run demo` and the [README](../README.md) use it.",
    "## Start",
    "This starts one with an S3 server. It makes a certificate and its key if there are none:",
    START,
    "In another terminal, have it record two archives, and see what became of them:",
    RECORD,
    "Its log shows the ports. Objects are kept in temporary files until the process ends.",
    "## Settings",
    "Environment variables. An unknown `SIMULATOR_…` name is an error, and all problems are reported together. `LOG_LEVEL` is as [elsewhere](settings.md).",
    settings(),
    "## Control API",
    "On `SIMULATOR_PORT`. Anybody who reaches the port may call. Errors are `application/problem+json`.",
    control(),
    "## The vendor's REST API",
    "On `SIMULATOR_REST_PORT`, for one project of either platform. The vendor's own SDKs work with it, and so do `unseal storage set`, `unseal archives list` and `unseal archives reconcile` with `UNSEAL_API_URL`. Each request is authenticated as `SIMULATOR_REST_AUTH` says; 403 names what is wrong.",
    rest(),
    "An archive that is `available` in the vendor's storage has a `url`, which expires after `SIMULATOR_URL_LIFETIME_MS`. Each new look at the archive gives a new one.",
    "## Policies",
    "`SIMULATOR_S3_POLICIES_FILE` names a JSON file: by access key, the secret key and a list of IAM documents, which only allow. What they do not allow is answered 403, as S3 does. A user without documents may do nothing.",
    POLICIES,
    "`npm run demo -- --policies` runs everything with the policies that [permissions.md](permissions.md) prints.",
    "## Quirks",
    "A quirk is a way in which a whole store differs from S3. The vendor's own uploads are spared, so that there is something to decrypt.",
    quirks(),
    "## Try your store's quirk",
    "1. Find it above, by what your store answers. `npm run demo -- --quirk NAME` runs the whole system on such a store; `--quirk` may be repeated. It ends with archives that equal openssl's, or with one sentence that says whose move it is.\n2. To look closer, start the simulator with `SIMULATOR_S3_QUIRKS=NAME`, and point your own worker, or `unseal decrypt`, at it.\n3. It is not above? Add a row to a table in `apps/simulator/src/s3/quirks/`: a meaning, and the hooks that change requests, replies or refusals (`hooks.ts`). Say in `demo/src/quirk-ends.ts` how the demo is to end on it. The tests ask for the rest: `test/s3-server/quirks.test.ts` that the server does it, `test/end-to-end/stores/quirks.test.ts` how a decryption ends.",
  )
}
