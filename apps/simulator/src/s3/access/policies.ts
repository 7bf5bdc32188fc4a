/** IAM policies of the server's users. The documents that docs/permissions.md prints are enforced as they are. */
import type { S3Request } from "../http/handler.ts"
import type { OperationName } from "../http/routing.ts"
import { S3Error } from "../http/s3-error.ts"

export interface PolicyStatement {
  readonly Sid?: string | undefined
  /** The only effect: anything that is not allowed is denied. */
  readonly Effect: "Allow"
  /** `s3:GetObject` and the like; `*` stands for any characters. */
  readonly Action: string | readonly string[]
  /** `arn:aws:s3:::bucket` for a bucket, `arn:aws:s3:::bucket/prefix/*` for its objects. */
  readonly Resource: string | readonly string[]
}

export interface PolicyDocument {
  readonly Version?: string | undefined
  readonly Statement: PolicyStatement | readonly PolicyStatement[]
}

/** The permission that an operation needs (service authorization reference, "Actions defined by Amazon S3"). */
const ACTIONS: Readonly<Record<Exclude<OperationName, "Unknown">, string>> = {
  ListBuckets: "s3:ListAllMyBuckets",
  CreateBucket: "s3:CreateBucket",
  HeadBucket: "s3:ListBucket",
  DeleteBucket: "s3:DeleteBucket",
  GetBucketLocation: "s3:GetBucketLocation",
  ListObjects: "s3:ListBucket",
  ListObjectsV2: "s3:ListBucket",
  // Needed for each key in the document, but the server asks only once.
  DeleteObjects: "s3:DeleteObject",
  PutObject: "s3:PutObject",
  CopyObject: "s3:PutObject",
  GetObject: "s3:GetObject",
  HeadObject: "s3:GetObject",
  DeleteObject: "s3:DeleteObject",
  CreateMultipartUpload: "s3:PutObject",
  UploadPart: "s3:PutObject",
  UploadPartCopy: "s3:PutObject",
  ListParts: "s3:ListMultipartUploadParts",
  ListMultipartUploads: "s3:ListBucketMultipartUploads",
  CompleteMultipartUpload: "s3:PutObject",
  AbortMultipartUpload: "s3:AbortMultipartUpload",
  RestoreObject: "s3:RestoreObject",
}

/** Permissions that a write needs in addition if it has the header. */
const BY_HEADER: Readonly<Record<string, string>> = {
  "x-amz-tagging": "s3:PutObjectTagging",
  "x-amz-acl": "s3:PutObjectAcl",
}

type Asked = Pick<S3Request, "operation" | "bucket" | "key" | "headers">

/** Combines several documents into one that allows everything that any of them allows. */
export const joined = (documents: readonly PolicyDocument[]): PolicyDocument => ({
  Statement: documents.flatMap(({ Statement }) => Statement),
})

/** The server's policies by access key. A change takes effect with the next request. */
export class Policies {
  readonly #documents: Map<string, PolicyDocument>

  constructor(documents: Readonly<Record<string, PolicyDocument>> = {}) {
    this.#documents = new Map(Object.entries(documents))
  }

  set(accessKeyId: string, document: PolicyDocument): void {
    this.#documents.set(accessKeyId, document)
  }

  /** Removes the policy: the key's owner may do everything again. */
  delete(accessKeyId: string): void {
    this.#documents.delete(accessKeyId)
  }

  /** Throws `AccessDenied` if the key's owner may not do this. */
  check(accessKeyId: string, { operation, bucket, key, headers }: Asked): void {
    if (operation === "Unknown") return
    const action = ACTIONS[operation]
    const asked = Object.keys(BY_HEADER).filter((name) => headers[name] !== undefined)
    const more = action === "s3:PutObject" ? asked.map((name) => BY_HEADER[name]!) : []
    for (const needed of [action, ...more])
      if (!this.#allows(accessKeyId, needed, key === "" ? bucket : `${bucket}/${key}`))
        throw denial(accessKeyId, needed)
  }

  /** Answers 403 instead of 404 for a missing key if its owner may not list the bucket. */
  refusal(refusal: S3Error, accessKeyId: string, { operation, bucket }: Asked): S3Error {
    const isHidden =
      refusal.code === "NoSuchKey" &&
      (operation === "GetObject" || operation === "HeadObject") &&
      !this.#allows(accessKeyId, "s3:ListBucket", bucket)
    return isHidden ? denial(accessKeyId, "s3:ListBucket") : refusal
  }

  #allows(accessKeyId: string, action: string, resource: string): boolean {
    const document = this.#documents.get(accessKeyId)
    if (document === undefined) return true
    return [document.Statement]
      .flat()
      .some(
        ({ Action, Resource }) =>
          [Action].flat().some((pattern) => matches(pattern, action)) &&
          [Resource].flat().some((pattern) => matches(pattern, `arn:aws:s3:::${resource}`)),
      )
  }
}

/** Worded as AWS words it for an account's own users. */
const denial = (accessKeyId: string, action: string): S3Error =>
  new S3Error(
    "AccessDenied",
    `User: ${accessKeyId} is not authorized to perform: ${action} because no identity-based policy allows the ${action} action`,
  )

/** `*` stands for any characters, `?` for one. */
function matches(pattern: string, text: string): boolean {
  const escaped = pattern.replaceAll(/[.+^${}()|[\]\\]/g, "\\$&")
  return new RegExp(`^${escaped.replaceAll("*", ".*").replaceAll("?", ".")}$`).test(text)
}
