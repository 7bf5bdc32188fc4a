import { StoreUrlError } from "./url-error.ts"

/**
 * The result of `load`, which imports `packages`: those that only `what` needs, and that not everybody has installed. Throws
 * `StoreUrlError` with the command that installs them if one is missing.
 */
export async function needingPackages<T>(
  what: string,
  packages: readonly string[],
  load: () => Promise<T>,
): Promise<T> {
  try {
    return await load()
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    const missing = packages.find((name) => message.includes(`'${name}'`))
    if (code !== "ERR_MODULE_NOT_FOUND" || missing === undefined) throw error
    throw new StoreUrlError(
      `${what} needs the package ${missing}, which is not installed: npm install ${packages.join(" ")}`,
      { cause: error },
    )
  }
}
