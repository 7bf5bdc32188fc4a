import { Interrupted, UsageError } from "./exit.ts"

/** The parts of a terminal's input that are used. */
export type TerminalInput = NodeJS.ReadableStream & {
  readonly isTTY?: boolean
  setRawMode?(raw: boolean): unknown
}

const KEY = { interrupt: 0x03, end: 0x04, backspace: 0x08, clear: 0x15, delete: 0x7f } as const
const LINE_ENDS = [0x0a, 0x0d]
const TRIES = 3

/**
 * Asks for a passphrase twice, without showing it, until both are the same. Resolves to the typed bytes, in a buffer that the
 * caller wipes. Throws `UsageError` without a terminal, or if the two never agree, and `Interrupted` after Ctrl-C.
 */
export async function promptPassphrase(
  name: string,
  minimum: number,
  input: TerminalInput = process.stdin,
  output: NodeJS.WritableStream = process.stderr,
): Promise<Buffer> {
  if (!input.isTTY || !input.setRawMode)
    throw new UsageError(
      "there is no terminal to ask for a passphrase: give --passphrase-file FILE, --generate-passphrase or --no-passphrase",
    )
  input.setRawMode(true)
  const typed = typedBytes(input)
  try {
    for (let tries = 0; tries < TRIES; tries++) {
      const first = await readHidden(`Passphrase for ${name}: `, typed, output)
      if (first.length < minimum) {
        output.write(`It needs ${minimum} characters or more.\n`)
        continue
      }
      const second = await readHidden("The same again: ", typed, output)
      const agree = first.equals(second)
      second.fill(0)
      if (agree) return first
      first.fill(0)
      output.write("The two differ.\n")
    }
    throw new UsageError(`no passphrase after ${TRIES} tries`)
  } finally {
    input.setRawMode(false)
    await typed.return(undefined)
    input.pause()
  }
}

async function readHidden(
  prompt: string,
  typed: AsyncGenerator<number, undefined>,
  output: NodeJS.WritableStream,
): Promise<Buffer> {
  output.write(prompt)
  const line = Buffer.alloc(1_024)
  let length = 0
  for (;;) {
    const { value: byte, done } = await typed.next()
    if (byte === KEY.interrupt) {
      line.fill(0)
      output.write("\n")
      throw new Interrupted("interrupted; nothing was written")
    }
    if (done || byte === undefined || byte === KEY.end || LINE_ENDS.includes(byte)) break
    if (byte === KEY.clear) length = 0
    else if (byte === KEY.backspace || byte === KEY.delete) length = characterStart(line, length)
    else if (length < line.length) line[length++] = byte
  }
  output.write("\n")
  const passphrase = Buffer.from(line.subarray(0, length))
  line.fill(0)
  return passphrase
}

/** Where the last UTF-8 character before `end` begins. Its other bytes are 10xxxxxx. */
function characterStart(line: Buffer, end: number): number {
  let start = Math.max(end - 1, 0)
  while (start > 0 && (line[start]! & 0xc0) === 0x80) start--
  return start
}

/** Byte by byte, because one piece of typed or pasted input may be several lines. */
async function* typedBytes(input: TerminalInput): AsyncGenerator<number, undefined> {
  for await (const chunk of input) {
    const bytes = Buffer.from(chunk as Buffer)
    try {
      yield* bytes
    } finally {
      bytes.fill(0)
    }
  }
  return undefined
}
