/** `unseal decrypt` on sources, destinations and files that are not what the user thinks. */
import { existsSync } from "node:fs"
import { link, readFile, symlink, writeFile } from "node:fs/promises"
import { describe, expect, it } from "vitest"
import {
  file,
  folder,
  KEY,
  PASSWORD,
  path,
  plaintext,
  quoted,
  shell,
  useVectorFolder,
} from "../../../harness/cli/vector-folder.ts"
import { runCli } from "../../../harness/process.ts"

useVectorFolder()

describe("unseal decrypt", () => {
  it("does not overwrite the ciphertext with the plaintext, however the path is spelt", async () => {
    await symlink(path("archive.enc"), path("link"))
    await link(path("archive.enc"), path("hard"))
    const before = await readFile(path("archive.enc"))
    const source = path("archive.enc")
    for (const name of [
      source,
      `${folder()}/./temporary/../archive.enc`,
      path("link"),
      path("hard"),
      `file://${source}`,
    ]) {
      const refused = await runCli(["decrypt", source, name, "--overwrite", ...PASSWORD])
      expect(refused, name).toMatchObject({ code: 2, stderr: expect.stringContaining("are the same object") })
    }
    const redirected = await shell(
      `unseal decrypt - '${source}' --overwrite ${quoted(PASSWORD)} < '${source}'`,
    )
    expect(redirected).toMatchObject({ code: 2, stderr: expect.stringContaining("are the same object") })
    expect((await readFile(source)).equals(before)).toBe(true)
  })

  it("reports a missing source, and a missing folder, as mistakes in the command", async () => {
    const cases = [
      [path("misspelt.enc"), path("out.ts"), "misspelt.enc does not exist: check the name"],
      [path("no/archive.enc"), path("out.ts"), `nor does its folder ${path("no")}`],
      [`file://${path("no/archive.enc")}`, path("out.ts"), `nor does its folder ${path("no")}`],
      [folder(), path("out.ts"), "is a directory: name the archive in it"],
      [path("archive.enc"), path("no/out.ts"), `the folder ${path("no")} does not exist: make it (mkdir -p)`],
    ]
    for (const [source, destination, words] of cases) {
      const { code, stderr } = await runCli(["decrypt", source!, destination!, ...PASSWORD])
      expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining(words!) })
    }
  })

  it("names a file that is missing, or not a file, with what to do, for every option", async () => {
    const callback = ["--callback", file("callback.json")]
    const cases: [string[], RegExp][] = [
      [["--callback", path("no.json"), ...KEY], /no\.json does not exist: check the path\n$/],
      [["--password-file", path("no.txt"), ...KEY], /no\.txt does not exist: check the path\n$/],
      [[...callback, "--key", path("no.pem")], /no\.pem does not exist: check the path\n$/],
      [
        [...callback, ...KEY, "--passphrase-file", path("no.txt")],
        /no\.txt does not exist: check the path\n$/,
      ],
      [[...callback, "--key", `${file("key.pem")}/x`], /leads through a file: check the path\n$/],
      [[...callback, "--key", folder()], /is a directory: name the key in it, or set UNSEAL_KEYS to it/],
      [["--callback", folder(), ...KEY], /can't be read: it is a directory/],
    ]
    for (const [args, words] of cases)
      expect(await runCli(["inspect", ...args])).toMatchObject({
        code: 2,
        stderr: expect.stringMatching(words),
      })
    const none = await runCli(["inspect", "--callback", path("archive.enc"), ...KEY])
    expect(none.stderr).toMatch(/archive\.enc is not JSON: --callback takes .*, --password-file the password/)
    const swapped = ["certificate", "check", file("key.pem"), "--key", file("cert.pem")]
    expect(await runCli(swapped)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^unseal: \S+key\.pem holds no PEM certificate, only a private key: give/,
      ),
    })
  })

  it("says that a source in MPEG-TS needs no decryption", async () => {
    for (const size of [188 * 16, 188 * 16 + 4]) {
      await writeFile(path("plain.ts"), (await plaintext()).subarray(0, size))
      const { code, stderr } = await runCli(["decrypt", path("plain.ts"), path("out.ts"), ...PASSWORD])
      expect({ code, stderr }).toEqual({
        code: 1,
        stderr: expect.stringMatching(
          /plain\.ts is not encrypted: it is MPEG-TS already\nunseal: copy it to the destination as it is;/,
        ),
      })
    }
    expect(existsSync(path("out.ts"))).toBe(false)
  })

  it("names a source or destination that is a dangling link, or a directory", async () => {
    await symlink(path("absent.ts"), path("dangling.ts"))
    const source = await runCli(["decrypt", path("dangling.ts"), path("out.ts"), ...PASSWORD])
    expect(source).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/dangling\.ts is a symbolic link to .*absent\.ts, which does not exist/),
    })
    const refused = await runCli(["decrypt", path("archive.enc"), path("dangling.ts"), ...PASSWORD])
    expect(refused).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/dangling\.ts is a symbolic link to .*absent\.ts, which does not exist/),
    })
    const folder = await runCli(["decrypt", path("archive.enc"), path("temporary"), ...PASSWORD])
    expect(folder).toMatchObject({ code: 2, stderr: expect.stringContaining("is a directory") })
  })
})
