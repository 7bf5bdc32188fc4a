/**
 * What `@peculiar/x509` needs of the Reflect metadata proposal before it is loaded: its injector asks for the metadata that
 * decorators leave, and refuses to load without `Reflect.getMetadata`. It keeps no more than that.
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
