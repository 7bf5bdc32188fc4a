/** The vendor's upload target and certificate ("Sending the encrypted archiving certificate", OpenTok Encryption guide). */

export interface S3Target {
  readonly type: "s3"
  readonly config: {
    readonly bucket: string
    readonly accessKey: string
    readonly secretKey: string
    /** Base URL of a store other than Amazon's, with its protocol. */
    readonly endpoint?: string
    /** Server-side encryption with Amazon's own keys. The vendor supports no others. */
    readonly sse?: "s3" | "none"
  }
}

export interface AzureTarget {
  readonly type: "azure"
  readonly config: {
    readonly accountName: string
    readonly accountKey: string
    readonly container: string
    /** The suffix of the account's host, if it is not the usual one. */
    readonly domain?: string
  }
}

/** The body of the request that sets the storage. */
export type UploadTarget = (S3Target | AzureTarget) & {
  /** `none`, or the platform's word for keeping a copy in the vendor's storage when the upload fails. */
  readonly fallback: string
  /** See `encodeCertificate`. `null` turns encryption off. */
  readonly certificate: string | null
}

/** The two forms in which a certificate (PEM) may be sent. */
export type CertificateForm = "base64" | "newlines"

export const CERTIFICATE_FORMS = ["base64", "newlines"] as const satisfies CertificateForm[]

/** Encodes a certificate for `certificate`: base64 of the PEM, or the PEM with its line breaks, which JSON writes as `\n`. */
export function encodeCertificate(pem: string, form: CertificateForm): string {
  const normalized = `${pem.replaceAll("\r\n", "\n").trim()}\n`
  return form === "base64" ? Buffer.from(normalized).toString("base64") : normalized
}

const MASK = "********"

/** Masks the secrets of `storage` for display. The access key and the account name only identify, so they stay. */
export function maskUploadTarget(storage: UploadTarget): UploadTarget {
  return storage.type === "s3"
    ? { ...storage, config: { ...storage.config, secretKey: MASK } }
    : { ...storage, config: { ...storage.config, accountKey: MASK } }
}
