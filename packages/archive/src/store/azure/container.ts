/**
 * Finds the account that a store's URL names, and a credential for it. Credentials are tried in this order. One for another
 * account is skipped, so that source and destination can be in different accounts:
 *
 * 1. `AZURE_STORAGE_CONNECTION_STRING`
 * 2. `AZURE_STORAGE_KEY`, else `AZURE_STORAGE_SAS_TOKEN`, which belong to `AZURE_STORAGE_ACCOUNT` if that is set
 * 3. `DefaultAzureCredential` of @azure/identity: workload identity, managed identity, `AZURE_CLIENT_ID` …, the Azure CLI
 */
import {
  AnonymousCredential,
  BlobServiceClient,
  type ContainerClient,
  type StoragePipelineOptions,
  StorageSharedKeyCredential,
} from "@azure/storage-blob"
import { UnsealError } from "../../errors.ts"
import type { ExchangeObserver } from "../http/exchanges.ts"
import { needingPackages } from "../needed-packages.ts"
import type { StoreNotice } from "../notices.ts"
import type { AzureStoreUrl } from "../url.ts"
import { followClock } from "./clock.ts"
import { observeExchanges } from "./exchanges.ts"
import { nameProxy } from "./proxy.ts"
import { limitResponses } from "./responses.ts"

type Environment = Readonly<Record<string, string | undefined>>

/** Our request layer retries (retry.ts). The SDK would multiply that by four of its own. */
const PIPELINE: StoragePipelineOptions = {
  retryOptions: { maxTries: 1 },
  userAgentOptions: { userAgentPrefix: "unseal" },
}

/**
 * The client of the URL's container. `notify` hears of another clock, `observe` of each request. Sends nothing. `ERR_STORE_DENIED` without account or
 * credential.
 */
export async function containerClient(
  url: AzureStoreUrl,
  env: Environment,
  notify: (notice: StoreNotice) => void,
  observe?: ExchangeObserver,
): Promise<ContainerClient> {
  const limited = limitResponses(await serviceClient(url, env))
  const service = followClock(observe ? observeExchanges(limited, observe) : limited, notify)
  return nameProxy(service, env).getContainerClient(url.container)
}

async function serviceClient(url: AzureStoreUrl, env: Environment): Promise<BlobServiceClient> {
  // Set but empty counts as not set: a compose file passes on variables that way.
  const given = (name: string) => env[`AZURE_STORAGE_${name}`] || undefined
  const connected = fromConnectionString(given("CONNECTION_STRING"))
  const owner = given("ACCOUNT")
  const account = url.account ?? accountOf(url.endpoint) ?? owner ?? connected?.accountName
  if (account === undefined && url.endpoint === undefined)
    throw new UnsealError(
      "ERR_STORE_DENIED",
      `no account for azure://${url.container}: add ?account=… to the URL, or set AZURE_STORAGE_ACCOUNT or AZURE_STORAGE_CONNECTION_STRING`,
    )
  if (connected !== null && (account === undefined || connected.accountName === account))
    return url.endpoint === undefined ? connected : moved(connected, url.endpoint)

  const endpoint = url.endpoint ?? `https://${account}.blob.core.windows.net`
  const ours = owner === undefined || owner === account
  const key = given("KEY")
  if (ours && key !== undefined && account !== undefined)
    return new BlobServiceClient(endpoint, new StorageSharedKeyCredential(account, key), PIPELINE)
  const sas = given("SAS_TOKEN")
  if (ours && sas !== undefined)
    return new BlobServiceClient(signed(endpoint, sas), new AnonymousCredential(), PIPELINE)
  return fromIdentity(endpoint, url.container)
}

/** The SDK's messages name the invalid field, never its value. Other errors could quote the string, so they are dropped. */
function fromConnectionString(text: string | undefined): BlobServiceClient | null {
  if (text === undefined) return null
  try {
    return BlobServiceClient.fromConnectionString(text, { ...PIPELINE })
  } catch (error) {
    const field = /^Invalid (\w+) in the provided/.exec(error instanceof Error ? error.message : "")?.[1]
    throw new UnsealError(
      "ERR_STORE_DENIED",
      `AZURE_STORAGE_CONNECTION_STRING can't be used: ${field === undefined ? "it is not a connection string" : `${field} is missing or wrong`}; it needs either DefaultEndpointsProtocol, AccountName, AccountKey and one of EndpointSuffix and BlobEndpoint, or BlobEndpoint and SharedAccessSignature`,
    )
  }
}

/** The same credential at another endpoint. */
function moved(service: BlobServiceClient, endpoint: string): BlobServiceClient {
  const { search } = new URL(service.url)
  return new BlobServiceClient(signed(endpoint, search), service.credential, PIPELINE)
}

/** Imported only when needed: of all that a store imports, it is the slowest to load. */
async function fromIdentity(endpoint: string, container: string): Promise<BlobServiceClient> {
  if (!endpoint.startsWith("https:"))
    throw new UnsealError(
      "ERR_STORE_DENIED",
      `no credential for azure://${container}: set AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING of its account; an identity's token is not sent to an endpoint without TLS`,
    )
  const { DefaultAzureCredential } = await needingPackages(
    `azure://${container} without a key or a SAS token`,
    ["@azure/identity"],
    () => import("@azure/identity"),
  )
  return new BlobServiceClient(endpoint, new DefaultAzureCredential(), PIPELINE)
}

function signed(endpoint: string, sas: string): string {
  const query = sas.replace(/^\?/, "")
  return query === "" ? endpoint : `${endpoint.replace(/\/$/, "")}?${query}`
}

/** The account in an endpoint's host (`account.blob.…`) or path (Azurite). */
function accountOf(endpoint: string | undefined): string | undefined {
  if (endpoint === undefined) return undefined
  const { accountName } = new BlobServiceClient(endpoint)
  return accountName === "" ? undefined : accountName
}
