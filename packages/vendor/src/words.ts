/** The vendor's explanation of a refusal: the only text that names the actual reason. */

/** The members that hold it at the two platforms and at proxies. `description` and `detail` say more than a title. */
const MEMBERS = ["message", "description", "detail", "error_description", "reason", "title", "error"] as const

/** Characters. */
const MOST = 300

/** Characters. A shorter value may be an ordinary word, such as `Basic`. */
const SHORTEST_SECRET = 7

/**
 * The sentences of an answer on one line, or `undefined` if it has none. `secrets` are removed wherever the answer repeats
 * them: a token or a bucket's key must not get into a log.
 */
export function wordsOf(text: string, secrets: readonly string[]): string | undefined {
  const said = sentencesOf(text)
  let words = [...new Set(said)].join("; ")
  // The whole header value, and the part after "Bearer".
  for (const secret of secrets.flatMap((value) => [value, ...value.split(" ")]))
    if (secret.length >= SHORTEST_SECRET) words = words.replaceAll(secret, "***")
  words = words
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the expression removes them
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
    // A gateway's HTML page is not a sentence, and the status says as much.
    return text.trimStart().startsWith("<") ? [] : [text]
  }
  if (typeof json === "string") return [json]
  if (typeof json !== "object" || json === null) return []
  const members = json as Readonly<Record<string, unknown>>
  return MEMBERS.map((name) => members[name]).filter(
    (value) => typeof value === "string" && value !== "",
  ) as string[]
}
