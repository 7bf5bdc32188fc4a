/** Whose move it is after S3 refused, or could not be asked, if more is known than the error's code says. */
import { CredentialsError } from "./connection/credentials.ts"
import { areExpired, nameOf, printable, regionOf, statusOf, wordsOf } from "./facts.ts"

/** The permission that an operation needs, if it is not named like the operation. */
const PERMISSIONS: Readonly<Record<string, string>> = {
  HeadObject: "s3:GetObject",
  CreateMultipartUpload: "s3:PutObject",
  UploadPart: "s3:PutObject",
  CompleteMultipartUpload: "s3:PutObject",
  ListParts: "s3:ListMultipartUploadParts",
  ListMultipartUploads: "s3:ListBucketMultipartUploads",
  HeadBucket: "s3:ListBucket",
  ListObjectsV2: "s3:ListBucket",
}

/** The missing permission: the one that AWS names, if it does, else the one of `operation`. `null` for another refusal. */
export function missingPermission(error: unknown, operation: string): string | null {
  if (statusOf(error) !== 403 || !/^(403|Unknown.*|AccessDenied)$/.test(nameOf(error))) return null
  const [, named] = /not authorized to perform: ([\w:*]+)/.exec(wordsOf(error)) ?? []
  const [name = ""] = operation.split(" ")
  return named ?? PERMISSIONS[name] ?? `s3:${name}`
}

/** What a bucket's policy may demand even of users with the permission, and where to set that. */
const DEMANDS: Readonly<Record<string, string>> = {
  "s3:GetObject":
    ". If its readers pay for the bucket, add requestPayer=requester to the store's URL; if its owner is checked, expectedBucketOwner",
  "s3:PutObject":
    ". If the bucket's policy demands an encryption, an ACL, tags or a storage class, name them in the store's URL (docs/stores.md)",
}

/** What to do about `error` of `operation`, as a clause; `undefined` if the remedy of its code suffices. */
export function s3Remedy(error: unknown, operation: string): string | undefined {
  if (error instanceof CredentialsError) return credentialsRemedy(error)
  const name = nameOf(error)
  const region = regionOf(error)
  if (region !== undefined) return `add region=${printable(region)} to the store's URL`
  if (areExpired(error)) return "renew the credentials, or have whoever issues them do it"
  const permission = missingPermission(error, operation)
  if (permission !== null)
    return `give the credentials the permission ${permission} (docs/permissions.md)${DEMANDS[permission] ?? ""}`
  switch (name) {
    case "NoSuchBucket":
      return "create the bucket, or correct its name or the endpoint in the store's URL"
    case "RequestTimeTooSkewed":
      return "set the clock of this machine, or of the store, right"
    case "InvalidAccessKeyId":
    case "SignatureDoesNotMatch":
      return "check the access key id and its secret: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or those of the profile"
  }
  return undefined
}

function credentialsRemedy({ message, cause }: CredentialsError): string {
  if (message.includes("using profile: ["))
    return "correct the profile's name (AWS_PROFILE, or profile=… in the store's URL), or add the profile to the AWS config or credentials file"
  if (message.includes("aws sso login")) return "log in with aws sso login, as the user of this process"
  if (message.includes("credential_process"))
    return "run the profile's credential_process as the user of this process, and see why it fails"
  if (statusOf(cause) === 403)
    return "correct the role's ARN, or let the role's trust policy name this identity"
  if (statusOf(cause) !== undefined)
    return "check the service that issues the credentials, and this machine's way to it"
  return "give this process credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile (AWS_PROFILE, or profile=… in the store's URL), or the role of its machine or pod"
}
