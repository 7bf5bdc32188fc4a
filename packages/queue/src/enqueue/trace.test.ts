import { expect, test } from "vitest"
import { contextIn, redriven } from "./trace.ts"

const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

test("a redriven job begins a trace of its own, which is linked with the dead letter's", () => {
  const payload = redriven({ projectId: "1", traceparent, tracestate: "vendor=1" })
  expect(payload).toEqual({ projectId: "1", tracelink: traceparent })
  expect(contextIn(payload)).toBeUndefined()
})

test("a job that was redriven without tracing keeps its link when it is redriven again", () => {
  expect(redriven({ tracelink: traceparent })).toEqual({ tracelink: traceparent })
})

test("a payload of any version has a context only if it is text", () => {
  expect(contextIn({ traceparent: 7 })).toBeUndefined()
  expect(contextIn({ traceparent, tracestate: {} })).toEqual({ traceparent })
})
