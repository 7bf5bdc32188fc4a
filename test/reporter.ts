import type { Reporter, TestModule } from "vitest/node"

/** Ends a run with one line that any reader of logs understands: `12 passed, 0 failed`. */
export default class TotalsReporter implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly unknown[]): void {
    const totals = { passed: 0, failed: unhandledErrors.length, skipped: 0, pending: 0 }
    for (const module of modules) {
      let tests = 0
      for (const test of module.children.allTests()) {
        totals[test.result().state]++
        tests++
      }
      // A file that could not be loaded has no tests that could fail.
      if (tests === 0 && module.state() === "failed") totals.failed++
    }
    const skipped = totals.skipped + totals.pending
    console.log(
      `\n${totals.passed} passed, ${totals.failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`,
    )
  }
}
