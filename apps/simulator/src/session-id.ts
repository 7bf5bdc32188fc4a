import { randomBytes } from "node:crypto"

/** The id of a session in the vendor's form: its SDKs read the project out of it. */
export function newSessionId(projectId: string): string {
  const fields = [1, projectId, "", Date.now(), randomBytes(12).toString("hex"), ""]
  return `2_${Buffer.from(fields.join("~")).toString("base64url")}`
}
