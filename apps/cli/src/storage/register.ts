import {
  type AzureTarget,
  type CertificateForm,
  encodeCertificate,
  maskUploadTarget,
  type S3Target,
  type UploadTarget,
} from "@unseal/vendor/upload-target"
import { UsageError } from "../terminal/exit.ts"
import { openVendor, type Vendor } from "../vendor.ts"
import type { VendorOptions } from "../vendor-options.ts"
import { readCertificate } from "./certificate.ts"
import { readTarget, type TargetOptions } from "./target.ts"
import { verifyTarget } from "./verify.ts"

export interface StorageOptions extends VendorOptions, TargetOptions {
  readonly fallback?: true
  readonly fallbackWord?: string
  readonly verify?: true
  readonly region?: string
  readonly dryRun?: true
  readonly json?: true
}

export interface SetOptions extends StorageOptions {
  readonly certificate?: string
  readonly certificateForm: CertificateForm
  readonly allowLarge?: true
}

/** `unseal storage set`: registers the upload target and the certificate. */
export async function storageSetCommand(
  type: "s3" | "azure",
  options: SetOptions,
  signal: AbortSignal,
): Promise<void> {
  if (options.certificate === undefined)
    throw new UsageError("which certificate? give --certificate FILE; to register none, run storage disable")
  const pem = await readCertificate(options.certificate, options.allowLarge === true, signal)
  await register(type, options, encodeCertificate(pem, options.certificateForm), signal)
}

/** `unseal storage disable`: registers the upload target without a certificate. */
export function storageDisableCommand(
  type: "s3" | "azure",
  options: StorageOptions,
  signal: AbortSignal,
): Promise<void> {
  return register(type, options, null, signal)
}

async function register(
  type: "s3" | "azure",
  options: StorageOptions,
  certificate: string | null,
  signal: AbortSignal,
): Promise<void> {
  if (options.dryRun && options.verify)
    throw new UsageError("--verify writes to the target, which --dry-run must not: give one of them")
  const vendor = openVendor(options)
  const target = readTarget(type, options)
  const fallback = options.fallback ? (options.fallbackWord ?? vendor.fallbackWord) : "none"
  const storage: UploadTarget = { ...target, fallback, certificate }
  if (options.dryRun) return printRequest(vendor, storage)

  const { protocol, hostname } = new URL(vendor.baseUrl)
  if (protocol === "http:" && !/^(localhost|127\.[\d.]+|\[::1\])$/.test(hostname))
    process.stderr.write(`unseal: warning: the target's secret goes to ${hostname} without encryption\n`)
  if (options.verify) await verify(target, vendor, options.region, signal)
  await vendor.client.setStorage(storage, signal)
  const outcome = certificate === null ? "disabled" : "set"
  const place = target.type === "s3" ? target.config.bucket : target.config.container
  process.stdout.write(
    options.json
      ? `${JSON.stringify({ outcome, projectId: vendor.projectId, type, place, fallback, verified: options.verify === true })}\n`
      : `project ${vendor.projectId}: archives go to ${type} ${place}, ${certificate === null ? "not encrypted" : "encrypted"}, ${fallback === "none" ? "without a fallback" : `with the fallback ${fallback}`}\n`,
  )
}

async function verify(
  target: S3Target | AzureTarget,
  { projectId }: Vendor,
  region: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  try {
    const { left } = await verifyTarget(target, { projectId, region }, signal)
    process.stderr.write(
      left === null
        ? "unseal: the target took a test object, and let it be removed\n"
        : `unseal: the target took the test object ${left}, but did not let it be removed\n`,
    )
  } catch (error) {
    process.stderr.write("unseal: the target did not take the test object: nothing was sent to the vendor\n")
    throw error
  }
}

const HEADERS = { opentok: "X-OPENTOK-AUTH", vonage: "Authorization", basic: "Authorization" } as const

function printRequest({ baseUrl, projectId, auth }: Vendor, storage: UploadTarget): void {
  const request = {
    method: "PUT",
    url: `${baseUrl}/v2/project/${projectId}/archive/storage`,
    headers: { [HEADERS[auth]]: "********", "Content-Type": "application/json" },
    body: maskUploadTarget(storage),
  }
  process.stdout.write(`${JSON.stringify(request, null, 2)}\n`)
}
