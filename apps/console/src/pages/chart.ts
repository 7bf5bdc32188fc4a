/** A bar for each minute. The numbers are in its text as well. */
import { type Html, html } from "../html.ts"
import { counted, number } from "./words.ts"

const HEIGHT = 64
const BAR = 8
const GAP = 2

/** The last minute is not over yet, and is drawn lighter. */
export function chart(perMinute: readonly number[]): Html {
  const most = Math.max(1, ...perMinute)
  const total = perMinute.reduce((sum, count) => sum + count, 0)
  const width = perMinute.length * (BAR + GAP) - GAP
  const bars = perMinute.map((count, index) => {
    const height = count === 0 ? 1 : Math.max(2, Math.round((HEIGHT * count) / most))
    const kind = count === 0 ? "zero" : index === perMinute.length - 1 ? "now" : "bar"
    return html`<rect class="${kind}" x="${index * (BAR + GAP)}" y="${HEIGHT - height}" width="${BAR}" height="${height}"></rect>`
  })
  const label = `${counted(total, "archive")} in the last ${number(perMinute.length)} minutes, at most ${number(Math.max(...perMinute))} in one`
  return html`<figure class="chart"><svg viewBox="0 0 ${width} ${HEIGHT}" role="img" aria-label="${label}" preserveAspectRatio="none">${bars}</svg>
<figcaption><span>an hour ago</span><span>most: ${number(Math.max(...perMinute))} a minute</span><span>now</span></figcaption></figure>`
}
