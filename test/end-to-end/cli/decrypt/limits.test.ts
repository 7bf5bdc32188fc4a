/** How much less than whole an archive may be: its announced size, and packets without a sync byte. */
import { createCipheriv, randomBytes, X509Certificate } from "node:crypto"
import { readdir, readFile, rm, writeFile } from "node:fs/promises"
import { encodePassword, wrapPassword } from "@unseal/archive/format/password"
import { describe, expect, it } from "vitest"
import { sample } from "../../../harness/cli/recorded-file.ts"
import { file, folder, path, useVectorFolder } from "../../../harness/cli/vector-folder.ts"
import { runCli } from "../../../harness/process.ts"

useVectorFolder()

describe("unseal decrypt", () => {
  it("warns if a source is not of the announced size, or refuses it if that is required", async () => {
    const whole = await readFile(file("archive.enc"))
    await writeFile(path("cut.enc"), whole.subarray(0, 64_000))
    await writeFile(
      path("announced.json"),
      JSON.stringify({ ...JSON.parse(await readFile(file("callback.json"), "utf8")), size: whole.length }),
    )
    const decrypt = (source: string, ...more: string[]) =>
      runCli(["decrypt", source, path("cut.ts"), "--key", file("key.pem"), "--overwrite", ...more])
    const callback = ["--callback", path("announced.json")]
    const warning = `64000 bytes, but the callback announced ${whole.length}`
    const warned = await decrypt(path("cut.enc"), ...callback)
    expect(warned).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(`${warning}: it may have been cut short`),
    })
    await rm(path("cut.ts"))
    const refused = { code: 1, stderr: expect.stringMatching(`ERR_OBJECT_INCOMPLETE.*${warning}`) }
    expect(await decrypt(path("cut.enc"), ...callback, "--require-size")).toMatchObject(refused)
    expect(await readdir(folder())).not.toContain("cut.ts")
    const usage = await decrypt(path("cut.enc"), "--password-file", file("password.b64"), "--require-size")
    expect(usage).toMatchObject({ code: 2, stderr: expect.stringContaining("give --callback") })
    const fits = await decrypt(file("archive.enc"), ...callback, "--require-size")
    expect(fits).toMatchObject({ code: 0, stderr: expect.not.stringContaining("warning") })
  })

  it("refuses an archive with too many damaged packets, unless --max-damage or UNSEAL_MAX_DAMAGE allows them", async () => {
    const plaintext = Buffer.concat(Array<Buffer>(4).fill(sample))
    const packets = plaintext.length / 188
    const broken = Math.ceil(packets * 0.87)
    for (let packet = packets - broken; packet < packets; packet++) plaintext[packet * 188] = 0
    const [key, iv] = [randomBytes(32), randomBytes(16)]
    const cipher = createCipheriv("aes-256-cbc", key, iv)
    await writeFile(path("damaged.enc"), Buffer.concat([cipher.update(plaintext), cipher.final()]))
    const { publicKey } = new X509Certificate(await readFile(file("cert.pem")))
    const password = wrapPassword(encodePassword({ key, iv }), publicKey)
    const decrypt = (args: string[], env = {}) =>
      runCli(
        [
          ...["decrypt", path("damaged.enc"), path("damaged.ts"), "--tail", "trim", ...args],
          ...["--password", password, "--key", file("key.pem")],
        ],
        { env },
      )
    const most = (percent: number) =>
      `${broken} of the ${packets} packets .*\\(87 %\\).* at most ${percent} %[\\s\\S]*--max-damage PERCENT`
    const refused = (percent: number) => ({
      code: 1,
      stderr: expect.stringMatching(`ERR_CIPHERTEXT_INVALID: .*${most(percent)}`),
    })
    expect(await decrypt([])).toMatchObject(refused(50))
    expect(await decrypt(["--max-damage", "86"])).toMatchObject(refused(86))
    // The command line takes precedence over the environment.
    expect(await decrypt(["--max-damage", "0"], { UNSEAL_MAX_DAMAGE: "100" })).toMatchObject(refused(0))
    expect(await readdir(folder())).not.toContain("damaged.ts")

    const told = `damaged: ${broken} of ${packets} packets without a sync byte`
    const taken = { code: 0, stderr: expect.stringContaining(told) }
    expect(await decrypt(["--max-damage", "90"])).toMatchObject(taken)
    expect((await readFile(path("damaged.ts"))).equals(plaintext)).toBe(true)
    expect(await decrypt(["--overwrite"], { UNSEAL_MAX_DAMAGE: "100" })).toMatchObject(taken)

    for (const wrong of ["101", "-1", "half", "1e2"])
      expect(await decrypt([`--max-damage=${wrong}`])).toMatchObject({
        code: 2,
        stderr: expect.stringContaining("must be a whole number from 0 to 100"),
      })
    expect(await decrypt([], { UNSEAL_MAX_DAMAGE: "101" })).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/UNSEAL_MAX_DAMAGE .*100/),
    })
  })
})
