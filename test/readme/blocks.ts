/** README.md as its reader uses it: blocks to run, in order, and what they show. */

/** A block of commands, and the lines of output that the text after it shows. */
export interface Commands {
  readonly kind: "commands"
  /** The line of the block's first command in the document. */
  readonly line: number
  readonly terminal: string
  readonly script: string
  /** Whether the reader repeats the block until its output is as shown. */
  readonly again: boolean
  readonly expected: readonly Expected[]
}

/** One line of output as the document shows it. `…` stands for anything. */
export interface Expected {
  readonly line: number
  readonly text: string
}

/** Ctrl-C in each of these terminals, one after the other. */
export interface Interruption {
  readonly kind: "interruption"
  readonly line: number
  readonly terminals: readonly string[]
}

export type Step = Commands | Interruption

/** The terminal of blocks that don't name one. */
export const MAIN = "main"

/**
 * The steps of a document. What its fences mean:
 * - `sh` runs in the main terminal; `sh terminal=NAME` in another one, where its last command stays running.
 * - `sh again` is repeated until its output is as shown.
 * - `sh not-run` is not run: it needs more than one machine has.
 * - `text` after it is output: these lines appear in this order, possibly among others. `…` stands for anything.
 * - `text terminal=NAME,NAME` with `^C` alone is Ctrl-C there.
 * Everything else is not a step. Throws for a fence with an unknown meaning.
 */
export function stepsOf(document: string): Step[] {
  const steps: Step[] = []
  for (const { line, info, content } of fencesOf(document)) {
    const [language, ...words] = info.split(" ")
    if (language !== "sh" && language !== "text") continue
    const terminal = words.find((word) => word.startsWith("terminal="))?.slice("terminal=".length)
    const others = words.filter((word) => !word.startsWith("terminal="))
    const fault = (what: string) => new Error(`line ${line - 1}: \`\`\`${info}: ${what}`)
    if (language === "sh") {
      const unknown = others.find((word) => word !== "again" && word !== "not-run")
      if (unknown !== undefined) throw fault(`there is no ${unknown}`)
      if (others.includes("not-run")) continue
      const again = others.includes("again")
      steps.push({
        ...{ kind: "commands", line, terminal: terminal ?? MAIN, script: content.join("\n"), again },
        expected: [],
      })
    } else if (content.join("\n") === "^C") {
      if (terminal === undefined) throw fault("in which terminal?")
      steps.push({ kind: "interruption", line, terminals: terminal.split(",") })
    } else {
      const last = steps.at(-1)
      if (last?.kind !== "commands" || last.expected.length > 0) throw fault("it is no block's output")
      if (words.length > 0) throw fault(`there is no ${words.join(" ")}`)
      const expected = content.map((text, index) => ({ line: line + index, text }))
      steps[steps.length - 1] = { ...last, expected: expected.filter(({ text }) => text.trim() !== "") }
    }
  }
  for (const step of steps)
    if (step.kind === "commands" && step.expected.length === 0 && (step.again || step.terminal !== MAIN))
      throw new Error(`line ${step.line}: nothing tells when this block has done its work`)
  return steps
}

interface Fence {
  /** The number of the first line of its content. */
  readonly line: number
  readonly info: string
  readonly content: readonly string[]
}

function* fencesOf(document: string): Generator<Fence> {
  const lines = document.split("\n")
  for (let index = 0; index < lines.length; index++) {
    const opening = /^(\s*)```(.*)$/.exec(lines[index]!)
    if (opening === null) continue
    const [, indent, info] = opening
    if (indent !== "" && /^(sh|text)\b/.test(info!))
      throw new Error(`line ${index + 1}: a block in a list is not run`)
    const end = lines.findIndex((line, at) => at > index && line.trim() === "```")
    if (end === -1) throw new Error(`line ${index + 1}: the block has no end`)
    yield { line: index + 2, info: info!.trim(), content: lines.slice(index + 1, end) }
    index = end
  }
}

/** The first line of `expected` that `output` does not show after the earlier ones; `undefined` if all are there. */
export function missing(expected: readonly Expected[], output: string): Expected | undefined {
  const lines = output.split("\n")
  let at = 0
  for (const wanted of expected) {
    const pattern = patternOf(wanted.text)
    while (at < lines.length && !pattern.test(lines[at]!)) at++
    if (at === lines.length) return wanted
    at++
  }
  return undefined
}

/** Runs of blanks count as one, because columns are as wide as their content. */
function patternOf(text: string): RegExp {
  const parts = text.trim().split("…")
  const literal = (part: string) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/\s+/g, "\\s+")
  return new RegExp(`^\\s*${parts.map(literal).join(".*")}\\s*$`)
}
