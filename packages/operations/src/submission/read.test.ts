import { randomBytes } from "node:crypto"
import { gzipSync } from "node:zlib"
import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { readSubmission, type SubmissionOptions, type SubmittedLine } from "./read.ts"

const never = new AbortController().signal
const PASSWORD = randomBytes(256).toString("base64")
const idOf = (number: number) => `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`
const callback = (number: number, fields: object = {}) => ({
  ...{ id: idOf(number), event: "archive", status: "uploaded", partnerId: 123456, size: 1_000 + number },
  ...{ password: PASSWORD, name: 'a "quoted" {name}', streams: [{ id: "s" }], ...fields },
})
const text = (number: number, fields?: object) => JSON.stringify(callback(number, fields))

async function* inChunks(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

/** What is read from `content`, however it is cut into chunks. */
async function read(content: string | Buffer, options: SubmissionOptions = {}): Promise<SubmittedLine[]> {
  const bytes = Buffer.from(content)
  const results = []
  for (const [each, size] of [
    [bytes, 7],
    [bytes, bytes.length + 1],
    [gzipSync(bytes), 64],
  ] as const)
    results.push(await Array.fromAsync(readSubmission(inChunks(each, size), options, never)))
  for (const result of results) expect(result).toEqual(results[0])
  return results[0]!
}

/** The line, and the archive's number or what else the line says. */
const brief = (lines: readonly SubmittedLine[]) =>
  lines.map((each) => [
    each.line,
    "payload" in each
      ? Number(each.payload.archiveId.slice(-12))
      : "ignored" in each
        ? each.ignored
        : each.malformed,
  ])

describe("a callback in JSON", () => {
  it("is read with all that a job needs", async () => {
    const [line] = await read(text(1, { sha256sum: "abc=" }), { file: "one.json" })
    expect(line).toEqual({
      line: 1,
      file: "one.json",
      text: text(1, { sha256sum: "abc=" }),
      payload: {
        projectId: "123456",
        archiveId: idOf(1),
        encryptedPassword: PASSWORD,
        status: "uploaded",
        size: 1_001,
        sha256sum: "abc=",
      },
    })
  })

  const three = [1, 2, 3].map((number) => callback(number))
  it.each([
    ["one a line", `${three.map((each) => JSON.stringify(each)).join("\n")}\n`, [1, 2, 3]],
    ["one a line, with CR LF", `${three.map((each) => JSON.stringify(each)).join("\r\n")}`, [1, 2, 3]],
    ["an array on one line", JSON.stringify(three), [1, 1, 1]],
    ["an indented array", JSON.stringify(three, null, 2), [2, 16, 30]],
    ["an array of one a line", `[\n${three.map((each) => JSON.stringify(each)).join(",\n")}\n]\n`, [2, 3, 4]],
    [
      "indented, one after the other",
      three.map((each) => JSON.stringify(each, null, 1)).join("\n"),
      [1, 15, 29],
    ],
    ["an array a line", three.map((each) => JSON.stringify([each])).join("\n"), [1, 2, 3]],
    [
      "a page of the vendor's list",
      JSON.stringify({ count: 3, items: three, more: { items: [] } }),
      [1, 1, 1],
    ],
    ["an indented page", JSON.stringify({ count: 3, items: three, rest: [1] }, null, 2), [4, 18, 32]],
    [
      "two pages",
      `${JSON.stringify({ items: three.slice(0, 2) })}\n${JSON.stringify({ items: three.slice(2) })}`,
      [1, 1, 2],
    ],
    ["with a byte order mark", `\ufeff${three.map((each) => JSON.stringify(each)).join("\n")}`, [1, 2, 3]],
    [
      "with empty lines and comments",
      `\n# by hand\n${JSON.stringify(three[0])}\n\n#\n${JSON.stringify(three[1])}\n${JSON.stringify(three[2])}`,
      [3, 6, 7],
    ],
  ])("may be %s", async (_, content, lines) => {
    expect(brief(await read(content))).toEqual(lines.map((line, index) => [line, index + 1]))
  })

  it("may be in UTF-16", async () => {
    const content = Buffer.from(`\ufeff${text(1)}\r\n${text(2)}\r\n`, "utf16le")
    expect(brief(await read(content))).toEqual([
      [1, 1],
      [2, 2],
    ])
    expect(brief(await read(Buffer.from(content).swap16()))).toEqual([
      [1, 1],
      [2, 2],
    ])
  })

  it("is distinguished from a line without one", async () => {
    const lines = [
      text(1),
      text(2).slice(0, 150),
      "",
      text(3, { status: "started", password: "" }),
      text(4, { id: "not-a-uuid" }),
      text(5, { event: "connectionCreated", password: undefined }),
      text(6, { password: PASSWORD.slice(0, 255) }),
      text(7, { partnerId: undefined }),
      text(8, { password: null }),
      text(9),
    ]
    expect(brief(await read(lines.join("\n")))).toEqual([
      [1, 1],
      [2, "it seems to hold a callback, whose JSON is cut or garbled"],
      [4, "not-uploaded"],
      [5, "fields of the callback are malformed: #/id must be a UUID"],
      [6, "no-callback"],
      [7, "encrypted password is not base64: 255 characters are not a multiple of 4, so it was cut short"],
      [8, "the callback does not name one project: give --project ID"],
      [9, "not-encrypted"],
      [10, 9],
    ])
  })

  it("is ignored unless it belongs to the project that was asked for", async () => {
    const lines = [text(1), text(2, { partnerId: 999 }), text(3, { partnerId: undefined })]
    expect(brief(await read(lines.join("\n"), { projectId: "123456" }))).toEqual([
      [1, 1],
      [2, "other-project"],
      [3, 3],
    ])
  })

  it("keeps its text, so that it can be mended", async () => {
    const broken = text(2, { id: "x" })
    const [, second] = await read(`${text(1)}\n${broken}\n`)
    expect(second!.text).toBe(broken)
    const [, inArray] = await read(JSON.stringify([callback(1), callback(2, { id: "x" })]))
    expect(inArray!.text).toBe(broken)
  })
})

describe("a log", () => {
  const inner = text(1)
  it.each([
    ["words before", `2026-01-02T03:04:05Z INFO callback received ${inner}`],
    ["words around", `POST /callbacks body=${inner} status=202`],
    ["a bracket at its beginning", `[2026-01-02] {worker} callback ${inner}`],
    ["the logger's JSON around", JSON.stringify({ level: 30, msg: "callback", req: { body: callback(1) } })],
    [
      "an escaped string in the logger's JSON",
      JSON.stringify({ log: `received ${inner}\n`, stream: "stdout" }),
    ],
    ["a string escaped twice", JSON.stringify({ log: JSON.stringify({ body: inner }) })],
    ["a quoted string", `level=info body=${JSON.stringify(inner)} ms=4`],
    ["an event of the logger's own", JSON.stringify({ event: "http", id: "1", body: callback(1) })],
  ])("is read with %s", async (_, line) => {
    const lines = ["started", line, '{"level":30,"msg":"idle"}', "stopped {main} [x]"].join("\n")
    expect(brief(await read(lines))).toEqual([
      [1, "no-callback"],
      [2, 1],
      [3, "no-callback"],
      [4, "no-callback"],
    ])
  })

  it("distinguishes a callback that is cut from other lines", async () => {
    const lines = [
      `INFO ${inner}`,
      `INFO ${inner.slice(0, 120)}`,
      `INFO ${JSON.stringify(inner).slice(0, 160)}`,
    ]
    const cut = "it seems to hold a callback, whose JSON is cut or garbled"
    expect(brief(await read(lines.join("\n")))).toEqual([
      [1, 1],
      [2, cut],
      [3, cut],
    ])
  })

  it("costs little for a line that is all braces", async () => {
    expect(brief(await read(`x ${"{".repeat(500_000)}`))).toEqual([[1, "no-callback"]])
  })
})

describe("a table", () => {
  const row = (number: number, more = "") => `${idOf(number)},123456,${PASSWORD}${more}`
  it("is read by its header", async () => {
    const [line] = await read(
      `size,Archive ID,notes,project_id,PASSWORD,key,sha256sum\n12,${idOf(1).toUpperCase()},"a, ""b""",123456,"${PASSWORD}",old/${idOf(1)}.ts,${"0".repeat(64)}\n`,
    )
    expect(line).toMatchObject({
      line: 2,
      header: "size,Archive ID,notes,project_id,PASSWORD,key,sha256sum",
      payload: {
        projectId: "123456",
        archiveId: idOf(1),
        encryptedPassword: PASSWORD,
        status: "uploaded",
        size: 12,
        sha256sum: Buffer.alloc(32).toString("base64"),
        sourceKey: `old/${idOf(1)}.ts`,
      },
    })
  })

  it.each([
    ["CR LF and a byte order mark", `\ufeffarchiveId,projectId,password\r\n${row(1)}\r\n${row(2)}\r\n`],
    [
      "semicolons",
      `archiveId;projectId;password\n${row(1).replaceAll(",", ";")}\n${row(2).replaceAll(",", ";")}`,
    ],
    [
      "tabs",
      `archiveId\tprojectId\tpassword\n${row(1).replaceAll(",", "\t")}\n${row(2).replaceAll(",", "\t")}`,
    ],
    ["quotes", `"archiveId","projectId","password"\n"${idOf(1)}","123456","${PASSWORD}"\n${row(2)}`],
    ["empty fields at the end", `archiveId,projectId,password,size\n${row(1, ",")}\n${row(2, ",5,,")}`],
  ])("may have %s", async (_, content) => {
    expect(brief(await read(content))).toEqual([
      [2, 1],
      [3, 2],
    ])
  })

  it("may have line breaks within quotes, and survives a quote that is never closed", async () => {
    const header = "archiveId,projectId,password,notes"
    const lines = [
      header,
      row(1, ',"two'),
      'lines"',
      row(2, ",fine"),
      row(3, ',"open'),
      row(4, ",fine"),
      row(5, ",fine"),
    ]
    expect(brief(await read(lines.join("\n")))).toEqual([
      [2, 1],
      [4, 2],
      [5, "a quote is not closed"],
      [6, 4],
      [7, 5],
    ])
  })

  it("says what is wrong with a row, without its values", async () => {
    const header = "archiveId,projectId,password,key,size,sha256sum"
    const lines = [
      header,
      row(1, ",,,"),
      `not-a-uuid,123456,${PASSWORD},,,`,
      row(2, ",,1.5e6,"),
      row(3, ",,,abc"),
      row(4, ",../other/archive.ts,,"),
      row(5, ",s3://bucket/key,,"),
      `${idOf(6)},1.23457E+05,${PASSWORD},,,`,
      `${idOf(7)},123456,,,,`,
      `${idOf(8)},,${PASSWORD},,,`,
      row(9),
      `${idOf(10)},123456,\\x00ff,,,`,
      row(11, ",,,"),
    ]
    expect(brief(await read(lines.join("\n")))).toEqual([
      [2, 1],
      [3, "archiveId must be a UUID"],
      [4, "size must be a whole number of bytes"],
      [5, "sha256sum must be a SHA-256 in base64 or in hex"],
      [6, 'key must not begin or end with "/", nor hold empty segments, "." or ".."'],
      [7, "key must be the key below the source, and not a URL"],
      [8, "projectId must be 1 to 64 digits, letters or dashes"],
      [9, "not-encrypted"],
      [10, "projectId is empty: fill it in, or give --project ID"],
      [11, "the row has 3 fields, and the header 6"],
      [12, "encrypted password is not base64: character 1 of 6 is outside its alphabet"],
      [13, 11],
    ])
  })

  it.each([
    ["archiveID,projectId,pasword", 'has a column "pasword": did you mean "password"?'],
    ["archivId,projctId,passwrd", 'has a column "archivId": did you mean "archiveId"?'],
    ["archiveId,projectId,password,sise", 'has a column "sise": did you mean "size"?'],
    [
      "archiveId,projectId,secret",
      "has no column password in its header; it needs at least archiveId,projectId,password",
    ],
    [
      "archiveId,password",
      "has no column projectId in its header; it needs at least archiveId,projectId,password",
    ],
    ["archiveId,projectId,password,Password", "has two columns password"],
    [row(1), "has no header: its first line must name the columns, as in archiveId,projectId,password"],
  ])("with the first line %s is refused", async (header, problem) => {
    await expect(read(`${header}\n${row(1)}\n`, { file: "a.csv" })).rejects.toThrow(`a.csv ${problem}`)
  })

  it("needs no projects if one is asked for", async () => {
    const content = `archiveId,password\n${idOf(1)},${PASSWORD}\n`
    const [line] = await read(content, { projectId: "777" })
    expect(line).toMatchObject({ payload: { projectId: "777" } })
  })

  it("may stand below callbacks and other tables", async () => {
    const lines = [
      "# one.csv, line 7: size must be a whole number of bytes",
      "archiveId,projectId,password",
      row(1),
      text(2),
      "password,archiveId,projectId",
      `${PASSWORD},${idOf(3)},123456`,
    ]
    expect(brief(await read(lines.join("\n")))).toEqual([
      [3, 1],
      [4, 2],
      [6, 3],
    ])
  })

  it("may be JSON with the names of its columns", async () => {
    const lines = [
      { archiveId: idOf(1), projectId: 123456, password: PASSWORD, size: 5, key: "a/b.ts" },
      { archiveId: idOf(2), projectId: "123456", encryptedPassword: PASSWORD, status: "available" },
      { archiveId: idOf(3), projectId: "123456", encryptedPassword: PASSWORD, status: "expired" },
      { archiveId: idOf(4), projectId: "123456", encryptedPassword: null, status: "uploaded" },
    ]
    const found = await read(lines.map((line) => JSON.stringify(line)).join("\n"))
    expect(brief(found)).toEqual([
      [1, 1],
      [2, 2],
      [3, "not-uploaded"],
      [4, "not-encrypted"],
    ])
    expect(found[0]).toMatchObject({ payload: { size: 5, sourceKey: "a/b.ts" } })
  })
})

describe("what can't be read", () => {
  it.each([
    ["a recording", Buffer.concat([Buffer.from([0x47, 0x40, 0, 0x10]), randomBytes(100_000)]), "is not text"],
    [
      "a zip archive",
      Buffer.from("PK\x03\x04 and more"),
      "is a zip archive: give the text itself, or a gzip of it",
    ],
    ["a key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nabc\n", "is a key or a certificate"],
  ])("is refused if it is %s", async (_, content, message) => {
    await expect(read(content, { file: "x" })).rejects.toMatchObject({
      code: "ERR_NOT_CALLBACKS",
      message: expect.stringContaining(`x ${message}`),
    })
  })

  const lines = Array.from({ length: 2_000 }, (_, number) => text(number)).join("\n")
  it("gives what half a gzip holds", async () => {
    const whole = gzipSync(lines)
    const found: SubmittedLine[] = []
    const half = readSubmission(inChunks(whole.subarray(0, whole.length / 2), 4_096), { file: "h.gz" }, never)
    await expect(
      (async () => {
        for await (const line of half) found.push(line)
      })(),
    ).rejects.toThrow("h.gz ends in the middle of its gzip: it was cut short; fetch it again")
    expect(found.length).toBeGreaterThan(0)
    expect(found.every((line) => "payload" in line)).toBe(true)
    whole[whole.length >> 1]! ^= 0xff
    await expect(
      Array.fromAsync(readSubmission(inChunks(whole, 4_096), { file: "d.gz" }, never)),
    ).rejects.toThrow(/^d\.gz is a damaged gzip \(Z_DATA_ERROR\)/)
  })

  it.each([
    [
      "a cut array",
      JSON.stringify([callback(1), callback(2)], null, 1).slice(0, -2),
      1,
      "ends before its JSON does (line 29)",
    ],
    [
      "an array with a cut object",
      `[${text(1)},\n${text(2).slice(0, 60)}\n${text(3)}]`,
      1,
      "holds an object that is cut (line 2)",
    ],
    [
      "words after an array",
      `[${text(1)}] and more`,
      1,
      "holds something between the objects of its JSON (line 1)",
    ],
    [
      "an indented callback that is cut",
      JSON.stringify(callback(1), null, 2).slice(0, 100),
      0,
      "ends before its JSON does (line 1)",
    ],
  ])("reports %s, with its line", async (_, content, most, problem) => {
    const found: SubmittedLine[] = []
    await expect(
      (async () => {
        for await (const line of readSubmission(inChunks(Buffer.from(content), 50), {}, never))
          found.push(line)
      })(),
    ).rejects.toThrow(`the input ${problem}`)
    expect(found.length).toBeGreaterThanOrEqual(most)
  })

  it("may have one line of a hundred megabytes, and the lines after it are read", async () => {
    async function* huge() {
      yield Buffer.from(`${text(1)}\n{"id":"`)
      const piece = Buffer.alloc(1024 * 1024, "x")
      for (let number = 0; number < 100; number++) yield piece
      yield Buffer.from(`"}\n${text(3)}`)
    }
    const found = await Array.fromAsync(readSubmission(huge(), {}, never))
    expect(brief(found)).toEqual([
      [1, 1],
      [2, "it has more than 1048576 bytes"],
      [3, 3],
    ])
    expect(found[1]!.text).toBe("")
  })

  it("ends with the signal", async () => {
    const stopped = new AbortController()
    const reading = readSubmission(inChunks(Buffer.from(lines), 10_000), {}, stopped.signal)
    await reading.next()
    stopped.abort(new Error("stopped"))
    await expect(Array.fromAsync(reading)).rejects.toThrow("stopped")
  })
})

it("reads nothing from an empty input, and counts the bytes of a packed one", async () => {
  expect(await read("")).toEqual([])
  expect(await read("\n \r\n")).toEqual([])
  const packed = gzipSync(text(1))
  let bytes = 0
  const options = { onBytes: (count: number) => (bytes += count) }
  expect(brief(await Array.fromAsync(readSubmission(inChunks(packed, 10), options, never)))).toEqual([[1, 1]])
  expect(bytes).toBe(packed.length)
})

it("throws only its own errors, whatever the bytes", async () => {
  const pieces = fc.constantFrom(
    '{"',
    "{",
    "}",
    "[",
    "]",
    '"',
    "\\",
    ",",
    "\n",
    "\r\n",
    "archiveId",
    "password",
    '":"',
    text(1),
    "# ",
    ";",
    "é",
  )
  await fc.assert(
    fc.asyncProperty(
      fc.array(pieces, { maxLength: 40 }),
      fc.integer({ min: 1, max: 50 }),
      async (parts, size) => {
        const bytes = Buffer.from(parts.join(""))
        const outcome = (chunk: number) =>
          Array.fromAsync(readSubmission(inChunks(bytes, chunk), {}, never)).catch((error) => {
            if (error.name !== "SubmissionError") throw error
            return error.message
          })
        expect(await outcome(size)).toEqual(await outcome(bytes.length + 1))
      },
    ),
    { numRuns: 300 },
  )
})
