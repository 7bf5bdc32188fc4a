/** A configuration that can't work. `problems` has one line for each thing to fix, without secrets. */
export class ConfigurationError extends Error {
  override readonly name = "ConfigurationError"
  readonly problems: readonly string[]

  constructor(problems: readonly string[]) {
    super(problems.join("; "))
    this.problems = problems
  }
}

type Results<Readers extends readonly (() => unknown)[]> = {
  [Index in keyof Readers]: ReturnType<Readers[Index]>
}

/**
 * Runs every reader and returns their results in order. If some throw `ConfigurationError`, throws all their problems as one, so
 * that an operator can fix settings and projects together.
 */
export function readTogether<const Readers extends readonly (() => unknown)[]>(
  ...readers: Readers
): Results<Readers> {
  const problems: string[] = []
  const results = readers.map((read) => {
    try {
      return read()
    } catch (error) {
      if (!(error instanceof ConfigurationError)) throw error
      problems.push(...error.problems)
      return undefined
    }
  })
  if (problems.length > 0) throw new ConfigurationError(problems)
  return results as Results<Readers>
}
