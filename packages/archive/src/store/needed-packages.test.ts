import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { afterAll, expect, it } from "vitest"
import { needingPackages } from "./needed-packages.ts"

const directory = mkdtempSync(join(tmpdir(), "unseal-needed-"))
afterAll(() => rmSync(directory, { recursive: true }))

/** Imports a file that imports `name`, out of reach of any package, by Node's own loader and not by the tests'. */
async function importing(name: string): Promise<never> {
  const file = join(directory, "adapter.mjs")
  writeFileSync(file, `import ${JSON.stringify(name)}`)
  return (await import(/* @vite-ignore */ pathToFileURL(file).href)) as never
}

it("says which package is missing, and how to get all that are needed", async () => {
  const failed = needingPackages("s3://", ["@aws-sdk/one", "@aws-sdk/two"], () => importing("@aws-sdk/two"))
  await expect(failed).rejects.toMatchObject({
    name: "StoreUrlError",
    message:
      "s3:// needs the package @aws-sdk/two, which is not installed: npm install @aws-sdk/one @aws-sdk/two",
  })
})

it("leaves other errors alone: a package that these need, or a fault of the adapter", async () => {
  await expect(needingPackages("s3://", ["one"], () => importing("another"))).rejects.not.toMatchObject({
    name: "StoreUrlError",
  })
  const fault = new Error("'one' is broken")
  await expect(needingPackages("s3://", ["one"], () => Promise.reject(fault))).rejects.toBe(fault)
})
