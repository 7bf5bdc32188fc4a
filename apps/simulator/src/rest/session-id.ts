import { randomBytes } from "node:crypto"

/** A session id in the vendor's form: its SDKs read the project from it. */
export function newSessionId(projectId: string): string {
  const fields = [1, projectId, "", Date.now(), randomBytes(12).toString("hex"), ""]
  return `2_${Buffer.from(fields.join("~")).toString("base64url")}`
}
