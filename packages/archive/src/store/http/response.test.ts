import fc from "fast-check"
import { describe, expect, it } from "vitest"
import { ResponseParser } from "./response.ts"

function parse(text: string, step: number, method = "GET") {
  const parser = new ResponseParser(method)
  const bytes = Buffer.from(text, "latin1")
  const body: Buffer[] = []
  let taken = 0
  for (let at = 0; at < bytes.length && !parser.done; at += step)
    taken += parser.push(bytes.subarray(at, at + step), (piece) => body.push(Buffer.from(piece)))
  return { parser, body: Buffer.concat(body).toString("latin1"), taken }
}

describe("an HTTP answer", () => {
  const answers: [string, string, number, string][] = [
    [
      "with a length",
      'HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\nETag: "e"\r\n\r\nhello',
      206,
      "hello",
    ],
    ["with nothing", "HTTP/1.1 200 OK\r\ncontent-length:0\r\n\r\n", 200, ""],
    ["without content", "HTTP/1.1 204 No Content\r\n\r\n", 204, ""],
    [
      "in chunks",
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nhel\r\n2\r\nlo\r\n0\r\nTrailer: t\r\n\r\n",
      200,
      "hello",
    ],
    [
      "behind interim answers",
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
      200,
      "ok",
    ],
  ]
  it.each(answers)("%s is the same, whatever pieces it comes in", (_, text, status, expected) => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: text.length }), (step) => {
        const { parser, body, taken } = parse(text, step)
        expect({ done: parser.done, status: parser.head?.status, body, taken }).toEqual({
          done: true,
          status,
          body: expected,
          taken: text.length,
        })
      }),
    )
  })

  it("joins header fields of one name, and knows when the connection must close", () => {
    const { parser } = parse(
      "HTTP/1.1 200 OK\r\nA: 1\r\na: 2\r\nConnection: Keep-Alive, Close\r\nContent-Length: 0\r\n\r\n",
      7,
    )
    expect(parser.head).toEqual({
      status: 200,
      headers: { a: "1, 2", connection: "Keep-Alive, Close", "content-length": "0" },
      persistent: false,
    })
    expect(parse("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", 99).parser.head?.persistent).toBe(false)
  })

  it("to HEAD ends with its head, whatever length it names", () => {
    expect(parse("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", 5, "HEAD").parser.done).toBe(true)
  })

  it("without a length lasts until the connection closes; with one, closing early cuts it short", () => {
    const open = parse("HTTP/1.1 200 OK\r\n\r\nhello", 4)
    expect([open.parser.done, open.body, open.parser.close()]).toEqual([false, "hello", true])
    expect(parse("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", 4).parser.close()).toBe(false)
    expect(
      parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", 4).parser.close(),
    ).toBe(false)
  })

  it("leaves the bytes that follow it", () => {
    const text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1"
    expect(parse(text, 999)).toMatchObject({ body: "ok", taken: text.length - 8 })
  })

  it.each([
    ["no status line", "SSH-2.0-OpenSSH\r\n\r\n"],
    ["a malformed field", "HTTP/1.1 200 OK\r\nno colon\r\n\r\n"],
    ["a malformed length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"],
    ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"],
    ["an unknown encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n"],
    ["a chunk without a size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"],
    ["a chunk longer than its size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nhello\r\n"],
    ["a line break in a field", "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n"],
    ["a blank in a name", "HTTP/1.1 200 OK\r\nContent-Length : 1\r\n\r\n"],
    ["interim answers without end", "HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000)],
    [
      "trailers without end",
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${"A: b\r\n".repeat(20_000)}`,
    ],
    [
      "a chunk's extensions without end",
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;${"x".repeat(20_000)}`,
    ],
    ["an endless head", `HTTP/1.1 200 OK\r\n${"A: b\r\n".repeat(20_000)}`],
  ])("with %s is refused", (_, text) => {
    expect(() => parse(text, 1000)).toThrow(expect.objectContaining({ name: "HttpSyntaxError" }))
  })
})

it("a field of blanks and a bare line feed are refused at once, not after minutes", () => {
  const text = `HTTP/1.1 200 OK\r\nA:${" ".repeat(15_000)}\n\r\n\r\n`
  expect(() => parse(text, text.length)).toThrow("malformed header field")
}, 10_000)

it("blanks around a field's value are not part of it", () => {
  const { parser } = parse(`HTTP/1.1 200 OK\r\nA:\t ${" ".repeat(5_000)}b c \t\r\nB:   \r\n\r\n`, 999, "HEAD")
  expect(parser.head?.headers).toEqual({ a: "b c", b: "" })
}, 10_000)
