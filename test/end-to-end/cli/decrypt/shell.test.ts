/** `unseal decrypt` with an awkward shell, disk or user. */
import { spawn } from "node:child_process"
import { once } from "node:events"
import { existsSync } from "node:fs"
import { readdir, readFile, writeFile } from "node:fs/promises"
import { describe, expect, it } from "vitest"
import {
  bigArchive,
  execute,
  file,
  folder,
  KEY,
  MAIN,
  PASSWORD,
  path,
  plaintext,
  quoted,
  shell,
  useVectorFolder,
} from "../../../harness/cli/vector-folder.ts"
import { runCli } from "../../../harness/process.ts"
import { ensureProgram } from "../../../harness/programs.ts"

useVectorFolder()

describe("unseal decrypt", () => {
  it("leaves nothing in the temporary folder when the reader of its output stops early", async () => {
    const big = path("big.enc")
    // Larger than pipe buffers, so that the command is still writing.
    const encryptedPassword = await bigArchive(big)
    const line = `cat '${big}' | unseal decrypt - - --password '${encryptedPassword}' ${quoted(KEY)} | head -c 10 | wc -c`
    const { stdout, stderr } = await shell(line)
    expect({ stdout: stdout.toString().trim(), stderr }).toEqual({ stdout: "10", stderr: "" })
    expect(await readdir(path("temporary"))).toEqual([])
  })

  it("fails if standard output is closed, but not if it goes to /dev/null", async () => {
    const line = `unseal decrypt '${path("archive.enc")}' - ${quoted(PASSWORD)}`
    expect(await shell(`${line} >&-`)).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(
        /^unseal: standard output is closed, or leads to \/dev\/null: name a file/,
      ),
    })
    expect(await shell(`${line} > /dev/null`)).toMatchObject({ code: 0 })
  })

  it.runIf(process.platform === "linux")("shows on a terminal how much of a pipe has arrived", async () => {
    await ensureProgram("script", {
      packages: { apt: "bsdutils", dnf: "util-linux-script", apk: "util-linux-misc" },
    })
    const line = `cat '${path("archive.enc")}' | unseal decrypt - '${path("out.ts")}' ${quoted(PASSWORD)}`
    await writeFile(path("line.sh"), line.replaceAll("unseal ", `'${process.execPath}' '${MAIN}' `))
    // `script` runs it in a terminal of its own, and passes the output on.
    const { stdout } = await execute("script", ["-qec", `bash ${path("line.sh")}`, "/dev/null"])
    const [, first = "", ...rest] = stdout.split("\r\x1b[K")
    expect(first).toMatch(/^reading before anything is decrypted: \d+(\.\d)? kB$/)
    expect(rest.at(-1)).toMatch(/^128 kB in .* to .*out\.ts/)
  })

  it("says after an interruption that standard output may have a part", async () => {
    const big = path("big.enc")
    const encryptedPassword = await bigArchive(big)
    const child = spawn(process.execPath, [
      MAIN,
      "decrypt",
      big,
      "-",
      "--password",
      encryptedPassword,
      ...KEY,
    ])
    let stderr = ""
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text
    })
    // The output is not read any further, so more remains to be written.
    await once(child.stdout, "readable")
    child.kill("SIGINT")
    child.stdout.resume()
    const [code] = await once(child, "close")
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: "unseal: interrupted by SIGINT; standard output may have a part of the plaintext\n",
    })
  })

  it("says where there is no space, and how far it came", async () => {
    const full = await shell(`unseal decrypt '${path("archive.enc")}' - ${quoted(PASSWORD)} > /dev/full`)
    expect(full.code).toBe(3)
    expect(full.stderr).toMatch(
      /ERR_STORE_FULL: standard output \(\/dev\/full\) took 0 of \d+ bytes: no space is left/,
    )
    expect(full.stderr).not.toContain("    at ")
  })

  it.runIf(process.getuid?.() === 0)("names a full temporary folder", async () => {
    await execute("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", path("temporary")])
    try {
      const full = await shell(
        `cat '${path("archive.enc")}' | unseal decrypt - '${path("out.ts")}' ${quoted(PASSWORD)}`,
      )
      expect(full.code).toBe(3)
      expect(full.stderr).toMatch(/standard input does not fit in the temporary folder .*temporary, .*TMPDIR/)
      expect(full.stderr).not.toContain("    at ")
    } finally {
      await execute("umount", [path("temporary")])
    }
    expect(existsSync(path("out.ts"))).toBe(false)
  })

  it("removes what a killed run left of its destination, but nothing that is still being written", async () => {
    const owner = spawn("sleep", ["60"], { stdio: "ignore" })
    const gone = spawn("true")
    await new Promise((resolve) => gone.once("exit", resolve))
    try {
      const left = async (token: string, pid: number, host: string) => {
        const name = path(`.out.ts.unseal-${token}`)
        await writeFile(name, "plaintext")
        await writeFile(`${name}.parts`, "unseal-parts 1 9 16\n")
        const text = await readFile(`/proc/${pid}/stat`, "latin1").catch(() => "")
        const startedAt = text.slice(text.lastIndexOf(")") + 2).split(" ")[19] ?? ""
        await writeFile(`${name}.owner`, JSON.stringify({ host, pid, startedAt }))
      }
      const { stdout } = await execute("hostname")
      const host = stdout.trim()
      await left("0000000000000001", gone.pid!, host)
      await left("0000000000000002", owner.pid!, host)
      await left("0000000000000003", gone.pid!, "another-host")
      await writeFile(path(".out.ts.unseal-0000000000000004"), "a worker's")
      const { code, stderr } = await runCli(["decrypt", path("archive.enc"), path("out.ts"), ...PASSWORD])
      expect({ code, stderr }).toEqual({
        code: 0,
        stderr: expect.stringMatching(/removed .*\.out\.ts\.unseal-0000000000000001 \(9 B of plaintext\)/),
      })
      const names = await readdir(folder())
      const kept = ["2", "3"].flatMap((end) =>
        ["", ".owner", ".parts"].map((kind) => `.out.ts.unseal-000000000000000${end}${kind}`),
      )
      expect(names.filter((name) => name.startsWith(".")).sort()).toEqual([
        ...kept,
        ".out.ts.unseal-0000000000000004",
      ])
    } finally {
      owner.kill()
    }
  })

  it("leaves a note with its output when it is killed, which the next run finds", async () => {
    const big = path("big.enc")
    const encryptedPassword = await bigArchive(big)
    const child = spawn(
      process.execPath,
      [MAIN, "decrypt", big, path("out.ts"), "--password", encryptedPassword, ...KEY],
      { stdio: "ignore" },
    )
    await expect
      .poll(async () => (await readdir(folder())).some((name) => name.endsWith(".owner")), {
        timeout: 30_000,
        interval: 1,
      })
      .toBe(true)
    child.kill("SIGKILL")
    await new Promise((resolve) => child.once("exit", resolve))
    const again = await runCli(["decrypt", path("archive.enc"), path("out.ts"), "--overwrite", ...PASSWORD])
    expect(again).toMatchObject({ code: 0 })
    expect((await readdir(folder())).filter((name) => name.startsWith("."))).toEqual([])
  })

  it("reads a process substitution, and writes to one and to /dev/null", async () => {
    const expected = await plaintext()
    const line = `unseal decrypt <(cat '${path("archive.enc")}') >(cat > '${path("out.ts")}') --password-file <(cat '${file("password.b64")}') --key <(cat '${file("key.pem")}'); wait; sleep 0.2`
    expect(await shell(line)).toMatchObject({ code: 0 })
    await expect
      .poll(async () => (await readFile(path("out.ts"))).equals(expected), { timeout: 30_000 })
      .toBe(true)
    expect(await runCli(["decrypt", path("archive.enc"), "/dev/null", ...PASSWORD])).toMatchObject({
      code: 0,
    })
  })
})
