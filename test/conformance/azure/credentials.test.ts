import { inspect } from "node:util"
import type { OpenedStore } from "@unseal/archive/store/contract"
import { describe, expect, it } from "vitest"
import { freePort } from "../../harness/network/free-port.ts"
import { accountSas } from "../../harness/stores/azure-rest.ts"
import { open } from "../suite/azure-store.ts"
import { azurite, bytes, env, raw, url } from "../suite/azurite-container.ts"
import { drain, expectSameBytes, never, write } from "../suite/bytes.ts"

/** Every text reachable from `value`, even through non-enumerable properties, as a careless serializer might find it. */
function* textsIn(value: unknown, seen = new Set<unknown>()): Generator<string> {
  if (typeof value === "string") yield value
  if (typeof value !== "object" || value === null || seen.has(value)) return
  seen.add(value)
  if (value instanceof Map) yield* textsIn([...value], seen)
  for (const name of Reflect.ownKeys(value)) yield* textsIn(Reflect.get(value, name), seen)
}

describe("credentials", () => {
  const secrets = () => [azurite.key, encodeURIComponent(azurite.key)]
  const object = { key: "any.ts", size: 16, etag: '"0x1"', metadata: {} }
  const everyCall = (broken: OpenedStore) => [
    () => broken.stat("any.ts", never),
    () => broken.open("any.ts", 16, never),
    () => drain(broken.read(object, { start: 0, end: 16 }, never)),
    () => write(broken, "any.ts", bytes),
    () => Array.fromAsync(broken.openUploads(never)),
  ]

  it("are a connection string, an account key or a shared access signature", async () => {
    const environments = [
      { AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString },
      { AZURE_STORAGE_KEY: azurite.key },
      { AZURE_STORAGE_ACCOUNT: azurite.account, AZURE_STORAGE_KEY: azurite.key },
      {
        AZURE_STORAGE_CONNECTION_STRING: "",
        AZURE_STORAGE_KEY: "",
        AZURE_STORAGE_SAS_TOKEN: accountSas(azurite),
      },
      { AZURE_STORAGE_SAS_TOKEN: `?${accountSas(azurite)}` },
      {
        AZURE_STORAGE_CONNECTION_STRING: `BlobEndpoint=${azurite.url};SharedAccessSignature=${accountSas(azurite)}`,
      },
    ]
    for (const [index, environment] of environments.entries()) {
      const key = `credentials/${index}.ts`
      await write(await open(url, environment), key, bytes)
      expectSameBytes((await raw.get(`some/prefix/${key}`))!.bytes, bytes)
    }
  })

  it("from a connection string are sent to the URL's endpoint, which may be left out", async () => {
    const environment = { AZURE_STORAGE_CONNECTION_STRING: azurite.connectionString }
    const { endpoint: _, ...withoutEndpoint } = url
    for (const where of [withoutEndpoint, { ...withoutEndpoint, account: azurite.account }])
      expect(await (await open(where, environment)).stat("absent.ts", never)).toBeNull()
    const sas = {
      AZURE_STORAGE_CONNECTION_STRING: `BlobEndpoint=http://127.0.0.1:9/${azurite.account};SharedAccessSignature=${accountSas(azurite)}`,
    }
    expect(await (await open(url, sas)).stat("absent.ts", never)).toBeNull()
  })

  it("of another account are skipped", async () => {
    const other = azurite.connectionString
      .replace(`AccountName=${azurite.account}`, "AccountName=other")
      .replace(azurite.url, "http://127.0.0.1:9/other")
    const opened = await open(url, {
      AZURE_STORAGE_CONNECTION_STRING: other,
      AZURE_STORAGE_KEY: azurite.key,
    })
    expect(await opened.stat("absent.ts", never)).toBeNull()
    await expect(
      open(url, { AZURE_STORAGE_ACCOUNT: "other", AZURE_STORAGE_KEY: azurite.key }),
    ).rejects.toMatchObject({ code: "ERR_STORE_DENIED", message: expect.stringContaining("no credential") })
  })

  it("that are missing cause an error that says what to set", async () => {
    await expect(open({ container: "recordings", prefix: "" }, {})).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
      message: expect.stringContaining("AZURE_STORAGE_ACCOUNT"),
    })
    await expect(open(url, {})).rejects.toMatchObject({
      code: "ERR_STORE_DENIED",
      message: expect.stringContaining("AZURE_STORAGE_KEY"),
    })
  })

  it("are not shown when the connection string is invalid", async () => {
    const strings: [string, RegExp][] = [
      [azurite.key, /not a connection string/],
      [`AccountName=x;AccountKey=${azurite.key}`, /BlobEndpoint is missing/],
      [
        `DefaultEndpointsProtocol=ftp;AccountName=x;AccountKey=${azurite.key};EndpointSuffix=y`,
        /DefaultEndpointsProtocol is missing/,
      ],
      [
        `DefaultEndpointsProtocol=https;AccountKey=${azurite.key};EndpointSuffix=core.windows.net`,
        /AccountName is missing/,
      ],
      [
        "DefaultEndpointsProtocol=https;AccountName=x;AccountKey=;EndpointSuffix=core.windows.net",
        /AccountKey is missing/,
      ],
      [`BlobEndpoint=${azurite.url};SharedAccessSignature=`, /SharedAccessSignature is missing/],
    ]
    for (const [text, reason] of strings) {
      const error = await open(url, { AZURE_STORAGE_CONNECTION_STRING: text }).then(
        () => expect.unreachable(),
        (thrown) => thrown,
      )
      expect(error).toMatchObject({ code: "ERR_STORE_DENIED", message: expect.stringMatching(reason) })
      for (const secret of secrets())
        expect(inspect(error, { depth: 10, showHidden: true })).not.toContain(secret)
    }
  })

  it("are in no error, however it is printed", async () => {
    const sas = accountSas(azurite)
    const signature = new URLSearchParams(sas).get("sig")!
    const wrong = sas.replace(
      /sig=[^&]+/,
      `sig=${encodeURIComponent(Buffer.alloc(32, 7).toString("base64"))}`,
    )
    const wrongSignature = new URLSearchParams(wrong).get("sig")!
    const nowhere = `http://127.0.0.1:${await freePort()}/${azurite.account}`
    const stores = [
      await open(url, { AZURE_STORAGE_SAS_TOKEN: wrong }),
      await open({ ...url, endpoint: nowhere }, { AZURE_STORAGE_SAS_TOKEN: sas }),
      await open({ ...url, endpoint: nowhere }, env),
      await open({ ...url, container: "no-such-container" }, { AZURE_STORAGE_SAS_TOKEN: sas }),
      await open({ ...url, container: "no-such-container" }, env),
    ]
    for (const broken of stores)
      for (const call of everyCall(broken)) {
        const error = await call().then(
          () => expect.unreachable(),
          (thrown) => thrown,
        )
        const shown = [inspect(error, { depth: 10, showHidden: true }), ...textsIn(error)].join("\n")
        for (const secret of [signature, wrongSignature, ...secrets()])
          for (const form of [secret, encodeURIComponent(secret)]) expect(shown).not.toContain(form)
        expect(shown).not.toMatch(/SharedKey /)
      }
  })
})
