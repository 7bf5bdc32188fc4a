/** `count` with the noun in the number that it takes: `1 archive`, `0 archives`. What follows the noun may be part of it. */
export function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`
}
