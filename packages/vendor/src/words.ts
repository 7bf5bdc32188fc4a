/** What the vendor says of a request that it refuses: the one text that names the actual reason. */

/** Where the two platforms, and what stands before them, put their sentence. `description` and `detail` say more than a title. */
const MEMBERS = ["message", "description", "detail", "error_description", "reason", "title", "error"] as const

/** Characters. */
const MOST = 300

/** Characters. What is shorter may be any word, such as `Basic`. */
const SHORTEST_SECRET = 7

/**
 * The sentences of an answer, on one line, or `undefined` if it has none. `secrets` are taken out wherever they are told back:
 * a token or the key of a bucket must not get into a log.
 */
export function wordsOf(text: string, secrets: readonly string[]): string | undefined {
  const said = sentencesOf(text)
  let words = [...new Set(said)].join("; ")
  // A header's value, and in it what follows "Bearer".
  for (const secret of secrets.flatMap((value) => [value, ...value.split(" ")]))
    if (secret.length >= SHORTEST_SECRET) words = words.replaceAll(secret, "***")
  words = words
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is taken out
    .replace(/[\s\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, " ")
    .trim()
  if (words === "") return undefined
  return words.length > MOST ? `${words.slice(0, MOST)}…` : words
}

function sentencesOf(text: string): string[] {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    // A page of a gateway is no sentence; the status says as much.
    return text.trimStart().startsWith("<") ? [] : [text]
  }
  if (typeof json === "string") return [json]
  if (typeof json !== "object" || json === null) return []
  const members = json as Readonly<Record<string, unknown>>
  return MEMBERS.map((name) => members[name]).filter(
    (value) => typeof value === "string" && value !== "",
  ) as string[]
}
