/** The S3 policies that docs/permissions.md prints, and users of the project's own S3 server with these policies. */
import { readFileSync } from "node:fs"
import { writeFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import type { PolicyDocument, PolicyStatement } from "@unseal/simulator/s3/access/policies"

const PAGE = resolve(import.meta.dirname, "../../../docs/permissions.md")
const POLICY = /^### `([\w-]+)`\n[^#]*?^```json\n(.*?)^```$/gms

const POLICY_NAMES = ["source", "destination", "reconcile", "janitor", "upload"] as const
export type PolicyName = (typeof POLICY_NAMES)[number]

/** Policies by name, without the page's prefix `unseal-`. Throws if the page has others. */
export function printedPolicies(): Record<PolicyName, PolicyDocument> {
  const found = [...readFileSync(PAGE, "utf8").matchAll(POLICY)].map(
    ([, name, json]) => [name!.replace(/^unseal-/, ""), JSON.parse(json!) as PolicyDocument] as const,
  )
  const names = found.map(([name]) => name)
  if (names.toSorted().join() !== POLICY_NAMES.toSorted().join())
    throw new Error(`${PAGE} prints the policies ${names.join(", ")} instead of ${POLICY_NAMES.join(", ")}`)
  return Object.fromEntries(found) as Record<PolicyName, PolicyDocument>
}

const statementsOf = ({ Statement }: PolicyDocument): readonly PolicyStatement[] => [Statement].flat()

/** The document without one action. */
export const without = (document: PolicyDocument, action: string): PolicyDocument => ({
  Statement: statementsOf(document)
    .map((statement) => ({ ...statement, Action: [statement.Action].flat().filter((one) => one !== action) }))
    .filter(({ Action }) => Action.length > 0),
})

/** Each printed policy with each of its actions, except the vendor's own: it ends what it could not upload. */
export const printedActions = (): (readonly [PolicyName, string])[] =>
  (Object.entries(printedPolicies()) as [PolicyName, PolicyDocument][])
    .flatMap(([name, document]) =>
      statementsOf(document).flatMap(({ Action }) =>
        [Action].flat().map((action) => [name, action] as const),
      ),
    )
    .filter(([name, action]) => !(name === "upload" && action === "s3:AbortMultipartUpload"))

/** One user per policy, with a profile of the policy's name. Made up for one run, on loopback only. */
export const S3_USERS = POLICY_NAMES.map((name) => ({
  name,
  accessKeyId: `unseal${name}`,
  secretAccessKey: `unseal-${name}-secret-key`,
}))

export const userOf = (name: PolicyName) => S3_USERS.find((user) => user.name === name)!

/** Writes the users' profiles below `directory`. Resolves to the environment that a process needs to use them. */
export async function writeProfiles(directory: string): Promise<Readonly<Record<string, string>>> {
  const path = join(directory, "credentials")
  const sections = S3_USERS.map(
    ({ name, accessKeyId, secretAccessKey }) =>
      `[${name}]\naws_access_key_id = ${accessKeyId}\naws_secret_access_key = ${secretAccessKey}\n`,
  )
  await writeFile(path, sections.join("\n"), { mode: 0o600 })
  return { AWS_SHARED_CREDENTIALS_FILE: path, AWS_CONFIG_FILE: join(directory, "no-config") }
}

/** Writes the simulator's `SIMULATOR_S3_POLICIES_FILE` below `directory`. Resolves to its path. */
export async function writePolicies(directory: string): Promise<string> {
  const path = join(directory, "policies.json")
  const printed = printedPolicies()
  const users = S3_USERS.map(({ name, accessKeyId, secretAccessKey }) => [
    accessKeyId,
    { secretAccessKey, policies: [printed[name]] },
  ])
  await writeFile(path, JSON.stringify(Object.fromEntries(users)), { mode: 0o600 })
  return path
}

/** The environment that the SDKs read, for the user of a policy. */
export function credentialOf(name: PolicyName) {
  const { accessKeyId, secretAccessKey } = userOf(name)
  return { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey }
}

/** The store's URL with the user's profile. */
export const withProfile = (name: PolicyName, url: string): string => `${url}&profile=${name}`

/** The store's URL for another user, if it has a profile. */
export const as = (name: PolicyName, url: string): string =>
  url.replace(/\bprofile=[\w-]+/, `profile=${name}`)
