/** How stores, and the proxies in front of them, word their answers. */
import type { Reply } from "../http/handler.ts"
import type { QuirkRow } from "./hooks.ts"

const LISTINGS = ["ListParts", "ListMultipartUploads", "ListObjects", "ListObjectsV2"]

/** Changes the ETag in both headers and document of `reply`. */
function changeEtag(reply: Reply, change: (etag: string) => string): Reply {
  const etag = reply.headers?.etag
  return {
    ...reply,
    ...(etag !== undefined && { headers: { ...reply.headers, etag: change(String(etag)) } }),
    ...(reply.xml && {
      xml: reply.xml.replaceAll(
        /<ETag>([^<]*)<\/ETag>/g,
        (_, found: string) => `<ETag>${change(found)}</ETag>`,
      ),
    }),
  }
}

export const ANSWER_QUIRKS = {
  "weak-etags": {
    meaning: "answers reads with weak ETags (W/), like a proxy that compresses",
    create: () => ({
      reply: (reply, { operation }) =>
        operation === "GetObject" || operation === "HeadObject"
          ? changeEtag(reply, (etag) => `W/${etag}`)
          : reply,
    }),
  },
  "no-etags": {
    meaning: "answers without an ETag",
    create: () => ({
      reply: (reply) => changeEtag(reply, () => ""),
    }),
  },
  "bare-etags": {
    meaning: "answers with ETags without quotes",
    create: () => ({
      reply: (reply) => changeEtag(reply, (etag) => etag.replaceAll(/"|&quot;/g, "")),
    }),
  },
  "long-etags": {
    meaning: "has ETags of 200 characters",
    create: () => ({ state: { etags: "long" } }),
  },
  "kms-etags": {
    meaning: "encrypts with aws:kms, so its ETags are not MD5 digests",
    create: () => ({
      state: { etags: "random" },
      reply: (reply) => ({
        ...reply,
        headers: { ...reply.headers, "x-amz-server-side-encryption": "aws:kms" },
      }),
    }),
  },
  "endless-listings": {
    meaning: "marks every listing as truncated, and starts it again with each page",
    create: () => ({
      before({ operation, query }): undefined {
        if (!LISTINGS.includes(operation)) return
        for (const name of [
          "part-number-marker",
          "key-marker",
          "upload-id-marker",
          "marker",
          "continuation-token",
        ])
          (query as Map<string, string>).delete(name)
      },
      reply(reply, { operation }) {
        if (!LISTINGS.includes(operation) || !reply.xml) return reply
        const last = (name: string) =>
          [...reply.xml!.matchAll(new RegExp(`<${name}>([^<]*)</${name}>`, "g"))].at(-1)?.[1]
        const markers = [
          ["NextPartNumberMarker", last("PartNumber")],
          ["NextKeyMarker", last("Key")],
          ["NextUploadIdMarker", last("UploadId")],
        ].flatMap(([name, value]) =>
          value === undefined || reply.xml!.includes(`<${name}>`) ? [] : [`<${name}>${value}</${name}>`],
        )
        const xml = reply.xml.replace(
          "<IsTruncated>false</IsTruncated>",
          `<IsTruncated>true</IsTruncated>${markers.join("")}`,
        )
        return { ...reply, xml }
      },
    }),
  },
} as const satisfies Record<string, QuirkRow>
