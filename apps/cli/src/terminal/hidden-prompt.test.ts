import { PassThrough } from "node:stream"
import { expect, test } from "vitest"
import { Interrupted, UsageError } from "./exit.ts"
import { promptPassphrase } from "./hidden-prompt.ts"

/** A terminal on which `keys` are pressed as soon as it listens. */
function terminal(...keys: string[]) {
  const modes: boolean[] = []
  const input = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: (raw: boolean) => modes.push(raw),
  })
  for (const pressed of keys) input.write(pressed)
  const output = new PassThrough()
  let shown = ""
  output.on("data", (chunk) => {
    shown += chunk
  })
  const ask = async () => promptPassphrase("key.pem", 4, input, output)
  return { ask, modes, shown: () => shown }
}

test("asks twice and shows nothing of the input", async () => {
  const { ask, modes, shown } = terminal("corr", "ect-horse\r", "correct-horse\r")
  expect((await ask()).toString()).toBe("correct-horse")
  expect(shown()).toBe("Passphrase for key.pem: \nThe same again: \n")
  expect(modes).toEqual([true, false])
})

test("accepts both lines from one paste", async () => {
  expect((await terminal("hunter22\nhunter22\n").ask()).toString()).toBe("hunter22")
})

test("backspace removes a character, even one of several bytes, and Ctrl-U the line", async () => {
  const { ask } = terminal("wrong\x15pässé\x7f\x7fx\r", "päsx\r")
  expect((await ask()).toString()).toBe("päsx")
})

test("asks again if the two differ or the first is too short, and gives up in the end", async () => {
  const { ask, shown } = terminal("abc\r", "one-word\rother-word\r", "third-one\rthird-one\r")
  expect((await ask()).toString()).toBe("third-one")
  const text = shown()
  expect(text).toContain("It needs 4 characters or more.")
  expect(text).toContain("The two differ.")
  await expect(terminal("\r\r\r").ask()).rejects.toThrow(new UsageError("no passphrase after 3 tries"))
})

test("Ctrl-C ends it, and restores the terminal", async () => {
  const { ask, modes } = terminal("secr\x03")
  await expect(ask()).rejects.toBeInstanceOf(Interrupted)
  expect(modes).toEqual([true, false])
})

test("names the alternatives if there is no terminal", async () => {
  await expect(promptPassphrase("key.pem", 4, new PassThrough(), new PassThrough())).rejects.toThrow(
    /give --passphrase-file FILE, --generate-passphrase or --no-passphrase/,
  )
})
