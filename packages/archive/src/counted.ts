/** `count` with its noun in singular or plural: `1 archive`, `0 archives`. Words that follow the noun may be part of it. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}
