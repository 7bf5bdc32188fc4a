/** The regular expressions that are written in a source file. */

/** Behind one of these a slash begins an expression; behind anything else it divides. */
const BEFORE =
  /(?:^|[({[,;=:!&|?+\-*%<>~^}]|=>|\b(?:return|typeof|case|in|of|await|yield|throw|void|else|do))\s*$/

export interface Expression {
  readonly source: string
  readonly flags: string
}

export function expressionsIn(text: string): Expression[] {
  const found: Expression[] = []
  let at = 0
  /** Of templates that are open: the depth of braces at which each goes on. */
  const templates: number[] = []
  let depth = 0
  let code = ""
  while (at < text.length) {
    const two = text.slice(at, at + 2)
    const one = text[at]!
    if (two === "//") at = endOr(text, "\n", at)
    else if (two === "/*") at = endOr(text, "*/", at + 2)
    else if (one === '"' || one === "'") {
      at = endOfString(text, at)
      code += '""'
    } else if (one === "`" || (one === "}" && templates.at(-1) === depth)) {
      if (one === "}") templates.pop()
      at = template(at + 1)
    } else if (one === "/" && BEFORE.test(code.slice(-40))) {
      const end = endOfExpression(text, at)
      const flags = /^[a-z]*/.exec(text.slice(end))![0]
      found.push({ source: text.slice(at + 1, end - 1), flags })
      at = end + flags.length
      code += '""'
    } else {
      if (one === "{") depth++
      if (one === "}") depth--
      code += one
      at++
    }
  }
  return found

  /** Goes to the end of a template's text, or into the expression that interrupts it. */
  function template(from: number): number {
    for (let index = from; index < text.length; index++) {
      if (text[index] === "\\") index++
      else if (text[index] === "`") {
        code += '""'
        return index + 1
      } else if (text.startsWith("${", index)) {
        templates.push(depth)
        code += "("
        return index + 2
      }
    }
    return text.length
  }
}

function endOr(text: string, mark: string, from: number): number {
  const end = text.indexOf(mark, from)
  return end < 0 ? text.length : end + mark.length
}

function endOfString(text: string, from: number): number {
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === "\\") at++
    else if (text[at] === text[from]) return at + 1
  }
  return text.length
}

function endOfExpression(text: string, from: number): number {
  let inClass = false
  for (let at = from + 1; at < text.length; at++) {
    if (text[at] === "\\") at++
    else if (text[at] === "[") inClass = true
    else if (text[at] === "]") inClass = false
    else if (text[at] === "/" && !inClass) return at + 1
  }
  return text.length
}
