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
        "records archives of `size` bytes. Optional: `count`, `tail`, `exact` (exactly `size` bytes of ciphertext), `name`, `statuses` (which callbacks, in which order), `duplicates`, `reason`, `url`. Answers 202 at once",
      ],
      [
        `${code("GET /bad-day")}, ${code("PATCH /bad-day")}`,
        "shows and changes [what goes wrong](#bad-days)",
      ],
      [code("GET /archives"), "lists archives, newest first, with the result of each callback"],
      [
        code("GET /archives/{id}"),
        "shows one archive, with its encrypted password and the SHA-256 of its plaintext and ciphertext",
      ],
    ],
  )

const rest = (): string =>
  table(
    ["endpoint", "does", "refuses"],
    [
      [
        code("POST /session/create"),
        "creates a session. With `archiveMode=always`, its archive starts at once",
        "400: `archiveMode=always` in a session without the media router",
      ],
      [
        code("POST /v2/project/{id}/archive"),
        "starts an archive of a session. `SIMULATOR_SIZES_BYTES` gives its size",
        "400: the archive can't be encrypted. 404: no such session. 409: no media router, or the session is being recorded under the same `multiArchiveTag`",
      ],
      [
        code("POST /v2/project/{id}/archive/{archiveId}/stop"),
        "stops an archive. Encryption, upload and callbacks follow",
        "404: no such archive. 409: the archive is not being recorded",
      ],
      [
        code("GET /v2/project/{id}/archive"),
        "lists archives, newest first. Takes `offset`, `count` (up to 1,000) and `sessionId`",
        "400: `offset` or `count` is not a number",
      ],
      [code("GET /v2/project/{id}/archive/{archiveId}"), "shows one archive", "404: no such archive"],
      [
        code("DELETE /v2/project/{id}/archive/{archiveId}"),
        "deletes an archive",
        "404: no such archive. 409: the archive is neither `uploaded` nor `available`",
      ],
      [
        code("PUT /v2/project/{id}/archive/storage"),
        "sets where archives are uploaded, under which certificate and with which fallback. Applies from the next archive on",
        "400: what the vendor refuses, for example a key of more than 2,048 bits",
      ],
    ],
  )

const START = `\`\`\`sh
unseal simulator
\`\`\``

const RECORD = `\`\`\`sh
curl -sS http://127.0.0.1:8082/archives -d '{ "size": 5000000, "count": 3 }'
curl -sS http://127.0.0.1:8082/archives
\`\`\``

const OTHER_SIDE = `\`\`\`sh
. /tmp/unseal-simulator/settings
unseal ingest
\`\`\``

const BAD_DAY = `\`\`\`sh
curl -sS -X PATCH http://127.0.0.1:8082/bad-day -d '{ "loseCallbacksEvery": 3, "quirks": ["slow-down"] }'
curl -sS -X PATCH http://127.0.0.1:8082/bad-day -d '{ "loseCallbacksEvery": 0, "quirks": [] }'
\`\`\``

const badDay = (): string =>
  table(
    ["member", "setting at the start", "what goes wrong"],
    [
      [
        code("loseCallbacksEvery"),
        code("SIMULATOR_CALLBACKS_LOSE_EVERY"),
        "every n-th callback is never sent; 0 sends all",
      ],
      [
        code("delayCallbacksMs"),
        code("SIMULATOR_CALLBACKS_DELAY_MS"),
        "how many milliseconds late each callback is sent",
      ],
      [
        code("refuseRequestsEvery"),
        code("SIMULATOR_REST_REFUSE_EVERY"),
        "every n-th request to the REST API is answered 429; 0 answers all",
      ],
      [code("quirks"), code("SIMULATOR_S3_QUIRKS"), "the S3 server has exactly these [quirks](#quirks)"],
    ],
  )

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
    "The simulator plays the vendor on one machine. It makes MPEG-TS archives, encrypts them as the vendor does, uploads them and sends callbacks. It can also serve the vendor's REST API and an S3 store. It is for trying and testing, not for production. `npm run demo` and the [README](../README.md) use it.",
    "## Start",
    "No setting is required. In a checkout, `npm run start:simulator` does the same:",
    START,
    "This simulator is *complete*: it has an S3 server on port 9000 and the REST API on 8083, and sends signed callbacks to an ingest on port 8080. It makes secrets, and a certificate and its key with the `openssl` command. All of these stay in one folder, which the next start uses again. It prints what to do next. Objects are in temporary files, which are deleted when it ends.",
    "The file `settings` in that folder holds the settings for Unseal. Start ingest with them. In one more terminal, start a worker in the same way (`unseal worker`). Both need a Redis at `REDIS_URL` that keeps what it acknowledges ([redis.md](redis.md)):",
    OTHER_SIDE,
    "Record three archives, then list them. Once decrypted, they appear in `/tmp/unseal-simulator/decrypted`:",
    RECORD,
    "If you set `SIMULATOR_STORE`, `SIMULATOR_S3_PORT` or `SIMULATOR_REST_PORT`, the simulator is no longer complete. It then has only what the settings name, and says what is missing. `SIMULATOR_DIRECTORY` makes it complete again, in that folder. Every setting overrides what a complete simulator would choose.",
    "## Bad days",
    "These things can go wrong on demand. The control API changes them while the simulator runs. `PATCH /bad-day` takes the members that change, and `GET /bad-day` shows them all:",
    badDay(),
    "For example, the first command loses every third callback and has the S3 server ask for fewer requests. The second one ends that:",
    BAD_DAY,
    "A lost callback never comes again: `unseal archives reconcile` finds its archive. `POST /archives` can also repeat callbacks (`duplicates`) and send them in another order (`statuses`).",
    "## Settings",
    "Settings are environment variables. An unknown `SIMULATOR_…` name is an error. All problems are reported together. `LOG_LEVEL` is the same as for [other processes](settings.md).",
    settings(),
    "## Control API",
    "The control API is on `SIMULATOR_PORT`. Anybody who reaches the port may call it. Errors are `application/problem+json`.",
    control(),
    "## The vendor's REST API",
    "The REST API is on `SIMULATOR_REST_PORT` and serves one project of either platform. The vendor's own SDKs work with it. So do `unseal storage set`, `unseal archives list` and `unseal archives reconcile`, with `UNSEAL_API_URL`. Each request must authenticate as `SIMULATOR_REST_AUTH` says. A 403 names what is wrong.",
    rest(),
    "An archive that is `available` in the vendor's storage has a `url`, which expires after `SIMULATOR_URL_LIFETIME_MS`. Each request for the archive returns a new one.",
    "## Policies",
    "`SIMULATOR_S3_POLICIES_FILE` names a JSON file. For each access key it holds the secret key and a list of IAM documents. Only `Allow` statements work. Everything else is answered 403, as S3 does. A user without documents may do nothing.",
    POLICIES,
    "`npm run demo -- --policies` runs everything with the policies that [permissions.md](permissions.md) prints.",
    "## Quirks",
    "A quirk is a way in which a whole store differs from S3. Quirks do not affect the simulated vendor's own uploads, so there is always something to decrypt.",
    quirks(),
    "## Try your store's quirk",
    "1. Find the quirk in the table, by what your store answers. `npm run demo -- --quirk NAME` runs the whole system on such a store; `--quirk` may be repeated. The demo ends with archives that equal openssl's, or with one sentence that says whose move it is.\n2. To look closer, start the simulator with `SIMULATOR_S3_QUIRKS=NAME`, and point your own worker, or `unseal decrypt`, at it.\n3. If the quirk is not in the table, add a row in `apps/simulator/src/s3/quirks/`: a meaning, and the hooks that change requests, replies or refusals (`hooks.ts`). In `demo/src/quirk-ends.ts`, say how the demo ends on it. Two tests ask for the rest: `test/s3-server/quirks.test.ts` checks the server, and `test/end-to-end/stores/quirks.test.ts` checks how a decryption ends.",
  )
}
