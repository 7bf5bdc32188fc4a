/** What can name a bucket: its name, an access point's alias, or its ARN. */
import { StoreUrlError } from "../url-error.ts"

const BUCKET = /^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/
const ACCESS_POINT =
  /^arn:aws[a-z-]*:s3:([a-z0-9-]+):\d{12}:accesspoint\/[a-z0-9](?:[a-z0-9-]{1,48}[a-z0-9])$/

/** Splits `arn:…:accesspoint/name/prefix` or `arn:…:accesspoint:name/prefix`, as in a URL, into the ARN and the rest. */
export function splitArn(authority: string, path: string): { host: string; path: string } {
  const [, arn, name] = /^(.*:accesspoint)(?::([^:]*))?$/.exec(authority) ?? []
  if (arn === undefined) return { host: authority, path }
  if (name !== undefined) return { host: `${arn}/${name}`, path }
  const [, first = "", rest = ""] = /^\/([^/]*)(.*)$/s.exec(path) ?? []
  return { host: `${arn}/${first}`, path: rest }
}

/** Throws `StoreUrlError`, with the reason, if `name` can't name a bucket. */
export function checkBucket(name: string): void {
  if (/--x-s3$|--xa-s3$/.test(name))
    throw new StoreUrlError(
      `"${name}" is a directory bucket (S3 Express), whose sessions Unseal can't sign: use a general purpose bucket`,
    )
  if (/\.mrap$/.test(name) || /^arn:[^:]*:s3::/.test(name))
    throw new StoreUrlError(
      `"${name}" is a multi-region access point, whose signature (SigV4A) Unseal can't make: use the bucket, or an access point, of one region`,
    )
  if (/^arn:[^:]*:(s3-object-lambda|s3-outposts|s3express):/.test(name) || /--(ol|op)-s3$/.test(name))
    throw new StoreUrlError(
      `"${name}" belongs to S3 Object Lambda, Outposts or Express: use a bucket, or an access point of S3 itself`,
    )
  if (name.startsWith("arn:")) {
    if (!ACCESS_POINT.test(name))
      throw new StoreUrlError(
        `"${name}" is not an access point: arn:aws:s3:region:account:accesspoint/name, or a bucket's name without an ARN`,
      )
  } else if (!BUCKET.test(name))
    throw new StoreUrlError(
      `store URL names no usable bucket: "${name}" (2 to 255 letters, digits, dots, dashes and underscores)`,
    )
}

/** The region in an access point's ARN. */
export const regionOfArn = (name: string): string | undefined => ACCESS_POINT.exec(name)?.[1]
