/** Labels come from closed sets, and a metric has a bounded number of series: no input can make a scrape grow. */

/** A label's values, if they may change while the process runs, as configured projects do. A change makes a new array. */
export type ChangingSet = () => readonly string[]

/** The allowed values of each label. A changing set also has `unknown`. */
export type LabelSets = Readonly<Record<string, readonly string[] | ChangingSet>>

/** One value for each label. */
export type Labels<Sets extends LabelSets> = {
  readonly [Name in keyof Sets]: Sets[Name] extends readonly (infer Value)[] ? Value : string
}

/** The label of a value in no set: outside input must never make a scrape grow. */
export const UNKNOWN = "unknown"

/** The label of everything that comes after a metric has reached its limit of series. */
const OTHER = "other"

/**
 * Up to this many series of a metric begin at 0, so that a rate includes the first event. Beyond that each series begins with its
 * first event: a scrape grows with what happened, not with what could happen.
 */
const MAX_INITIAL_SERIES = 500

/** With the label `project` dropped, this many projects are asked which series are possible. */
const ASKED_PROJECTS = 20

type Values = Record<string, string>

/** The current values of `set`. Each array is made into a set once. */
function valuesOf(set: LabelSets[string]): () => ReadonlySet<string> {
  let seen: readonly string[] | undefined
  let values: ReadonlySet<string> = new Set()
  return () => {
    const now = typeof set === "function" ? set() : set
    if (now !== seen) {
      seen = now
      values = new Set(typeof set === "function" ? [...now, UNKNOWN] : now)
    }
    return values
  }
}

/** The series of one metric. */
export interface Series {
  /** The labels that it shows. */
  readonly names: readonly string[]
  /** The series that `values` belong to. */
  of(values: Readonly<Record<string, unknown>>): Values
  /** Forgets which series there are, because the metric begins anew. */
  forget(): void
}

/** The series of a metric with `labels`, at most `most`, without the `dropped` label. */
export function seriesOf(labels: LabelSets, most: number, dropped?: string): Series {
  const known = Object.entries(labels)
    .filter(([name]) => name !== dropped)
    .map(([name, set]) => ({ name, values: valuesOf(set), changes: typeof set === "function" }))
  const mayGrow = known.some(({ changes }) => changes)
  const seen = new Set<string>()

  function withinLimit(series: Values): Values {
    const id = Object.values(series).join("\0")
    if (seen.has(id)) return series
    if (seen.size < most) {
      seen.add(id)
      return series
    }
    return {
      ...series,
      ...Object.fromEntries(known.flatMap(({ name, changes }) => (changes ? [[name, OTHER]] : []))),
    }
  }

  return {
    names: known.map(({ name }) => name),
    of(values) {
      const series: Values = {}
      for (const { name, values: set } of known) {
        const value = values[name] as string | undefined
        series[name] = value !== undefined && set().has(value) ? value : UNKNOWN
      }
      return mayGrow ? withinLimit(series) : series
    },
    forget: () => seen.clear(),
  }
}

/** Whether a metric with `labels` shows only series that have happened, because the possible ones change. */
export const isChanging = (labels: LabelSets, dropped?: string): boolean =>
  Object.entries(labels).some(([name, set]) => name !== dropped && typeof set === "function")

/** Calls `begin` with every `possible` combination of labels, again whenever a set has changed since the last call. */
export function whenChanged(
  sets: LabelSets,
  dropped: string | undefined,
  possible: (combination: Values) => boolean,
  begin: (combination: Values) => void,
): () => void {
  const known = Object.values(sets).map(valuesOf)
  let seen: readonly ReadonlySet<string>[] = []
  return () => {
    const now = known.map((values) => values())
    if (seen.length > 0 && now.every((values, index) => values === seen[index])) return
    for (const combination of combinations(sets, possible, dropped)) begin(combination)
    seen = now
  }
}

/** Every `possible` combination of labels, without `dropped`; none if there are too many to begin at 0. */
export function combinations(
  sets: LabelSets,
  possible: (combination: Values) => boolean = () => true,
  dropped?: string,
): Values[] {
  const entries = Object.entries(sets).map(([name, set]) => {
    const values = [...valuesOf(set)()]
    return [name, name === dropped ? [...values.slice(0, ASKED_PROJECTS), UNKNOWN] : values] as const
  })
  const found = new Map<string, Values>()
  for (const combination of product(entries)) {
    if (!possible(combination)) continue
    const { [dropped ?? ""]: _, ...shown } = combination
    const id = Object.values(shown).join("\0")
    if (found.has(id)) continue
    // With thousands of projects, the rest need not be computed.
    if (found.size === MAX_INITIAL_SERIES) return []
    found.set(id, shown)
  }
  return [...found.values()]
}

function* product(
  entries: readonly (readonly [name: string, values: readonly string[]])[],
): Generator<Values> {
  const [first, ...others] = entries
  if (first === undefined) return yield {}
  const [name, values] = first
  for (const value of values) for (const rest of product(others)) yield { [name]: value, ...rest }
}
