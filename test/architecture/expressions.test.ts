/**
 * Expressions that backtrack: one answer of a few kB blocked an event loop for minutes, and with it every lock and every probe.
 * Each expression of the product is looked at by a tool; those that it can't prove are here, each with the reason why they are
 * harmless.
 */
import { isSafe } from "redos-detector"
import { describe, expect, it } from "vitest"
import { expressionsIn } from "./expressions.ts"
import { readSources } from "./sources.ts"

const OURS = "of our own settings and arguments, whoever gives them runs the process"
const SHORT = "of an identifier that was checked, or is a few dozen characters"
const DISTINCT = "no two beginnings share more than the bounded repeats between them"

const HARMLESS: Readonly<Record<string, string>> = {
  "packages/archive/src/format/certificate.ts": OURS,
  "packages/archive/src/store/https/allowed-hosts.ts": OURS,
  "packages/archive/src/store/http/proxy.ts": OURS,
  "packages/archive/src/store/s3/connection/access.ts": "of a header that the SDK has made here",
  "packages/archive/src/store/s3/names.ts": OURS,
  "packages/archive/src/store/url.ts": OURS,
  "packages/queue/src/jobs/redrive-id.ts": SHORT,
  "packages/service/src/log/error-serializer.ts": DISTINCT,
  "packages/service/src/redis/reach.ts": "of one line of an error of Redis, whose server is ours",
  "packages/service/src/projects/key-template.ts": OURS,
  "packages/service/src/settings/help.ts": OURS,
  "packages/vendor/src/client.ts": OURS,
  "packages/vendor/src/proxy.ts": "of a short message of Node's own client",
  "apps/cli/src/certificate/create.ts": OURS,
  "apps/cli/src/archives/key-options.ts": OURS,
  "apps/cli/src/archives/password-options.ts": OURS,
  "apps/cli/src/certificate/self-signed.ts": OURS,
  "apps/cli/src/vendor.ts": OURS,
  "apps/ingest/src/body.ts": "each beginning, a semicolon, ends the attempt before it",
}

/** Only testers ask the simulator. It is not used in production. */
const files = readSources().filter(
  ({ path, isTest }) => !isTest && /^(packages|apps)\/(?!simulator\/)/.test(path),
)

const looked = new Map<string, boolean>()

/** By steps rather than by time, so that a busy machine judges as an idle one. */
function unproven(source: string, flags: string): boolean {
  // Without an endless repeat it looks at a bounded number of characters from each place.
  if (!/[*+]|\{\d+,\}/.test(source.replaceAll(/\\.|\[(?:\\.|[^\]])*\]/g, ""))) return false
  const name = `/${source}/${flags}`
  const options = { maxScore: 200, maxSteps: 3_000, timeout: Infinity }
  const judged = looked.get(name) ?? !isSafe(new RegExp(source, flags), options).safe
  looked.set(name, judged)
  return judged
}

describe("an expression of the product", () => {
  it("takes linear time, whatever it is given", () => {
    const found = files
      .filter(({ path }) => HARMLESS[path] === undefined)
      .flatMap(({ path, text }) =>
        expressionsIn(text)
          .filter(({ source, flags }) => unproven(source, flags))
          .map(({ source }) => `${path}: /${source}/`),
      )
    expect(found, "cut by hand what comes from outside, or say why it can't be long").toEqual([])
  })

  it("is found where it is written, and the tool sees the kind that froze a worker", () => {
    const nested = "`$" + '{/y/i.exec("/z/")} /w/`'
    const text = `const a = b / c / d // /x/\nif (/[/"]\\/\`/g.test(${nested})) f(a.split(/\\s+/))`
    expect(expressionsIn(text).map(({ source }) => source)).toEqual(['[/"]\\/`', "y", "\\s+"])
    expect(files.flatMap(({ text }) => expressionsIn(text)).length).toBeGreaterThan(100)
    expect(unproven("^([^\\s:]+):[ \\t]*(.*?)[ \\t]*$", "")).toBe(true)
    expect(unproven("(a+)+$", "")).toBe(true)
    expect(unproven("^HTTP/1\\.([01]) (\\d{3})(?: |$)", "")).toBe(false)
  })

  it("is not excused where there is no need", () => {
    const needless = Object.keys(HARMLESS).filter(
      (path) =>
        !expressionsIn(files.find((file) => file.path === path)?.text ?? "").some(({ source, flags }) =>
          unproven(source, flags),
        ),
    )
    expect(needless).toEqual([])
  })
})
