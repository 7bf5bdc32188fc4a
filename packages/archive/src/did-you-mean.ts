/** The number of edits (insert, remove, replace one character) that turn `from` into `to`. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column)
  for (let line = 1; line <= from.length; line++) {
    const next = [line]
    for (let column = 1; column <= to.length; column++) {
      const replaced = row[column - 1]! + (from[line - 1] === to[column - 1] ? 0 : 1)
      next.push(Math.min(replaced, row[column]! + 1, next[column - 1]! + 1))
    }
    row = next
  }
  return row[to.length]!
}

const bare = (name: string): string => name.toLowerCase().replaceAll(/[-_]/g, "")

/** The most similar of `names`, however different. Ignores upper case, `-` and `_`. */
export function closest<Name extends string>(name: string, names: readonly Name[]): Name | undefined {
  const distances = names.map((candidate) => editDistance(bare(name), bare(candidate)))
  return names[distances.indexOf(Math.min(...distances))]
}

/** The one of `names` that `name` most likely means; `undefined` if none is close. */
export function nearest<Name extends string>(name: string, names: readonly Name[]): Name | undefined {
  const best = closest(name, names)
  const most = Math.max(1, Math.floor(bare(name).length / 3))
  return best !== undefined && editDistance(bare(name), bare(best)) <= most ? best : undefined
}
