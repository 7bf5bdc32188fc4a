/**
 * The part of the Reflect metadata proposal that `@peculiar/x509` needs before it is loaded. Its injector reads the metadata that
 * decorators leave, and refuses to load without `Reflect.getMetadata`.
 */
const kept = new WeakMap<object, Map<unknown, unknown>>()

const getOwnMetadata = (key: unknown, target: object): unknown => kept.get(target)?.get(key)

Object.assign(Reflect, {
  getMetadata: getOwnMetadata,
  getOwnMetadata,
  defineMetadata(key: unknown, value: unknown, target: object): void {
    const own = kept.get(target) ?? new Map()
    kept.set(target, own.set(key, value))
  },
})

export {}
