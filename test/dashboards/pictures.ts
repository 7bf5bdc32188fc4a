/** Pictures of pages, made by a real Chromium. */
import { execFile } from "node:child_process"
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { ensureProgram } from "../harness/programs.ts"
import type { Board } from "./files.ts"
import { pageOf, type Results, type Time } from "./page.ts"

const run = promisify(execFile)

/** Writes `folder/UID.png`. */
export async function takePicture(
  folder: string,
  board: Board,
  results: Results,
  time: Time,
): Promise<string> {
  const chromium = await ensureProgram(["chromium", "chromium-browser", "google-chrome"], {
    packages: { apt: "chromium", dnf: "chromium", apk: "chromium" },
  })
  const scratch = await mkdtemp(join(tmpdir(), "unseal-picture-"))
  const picture = join(folder, `${board.uid}.png`)
  try {
    await mkdir(folder, { recursive: true })
    const { html, width, height } = pageOf(board, results, time)
    const page = join(scratch, "page.html")
    await writeFile(page, html)
    const options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    await run(
      chromium,
      [
        ...options,
        `--user-data-dir=${join(scratch, "profile")}`,
        `--window-size=${width},${height}`,
        `--screenshot=${picture}`,
        pathToFileURL(page).href,
      ],
      { timeout: 120_000 },
    )
    return picture
  } finally {
    await rm(scratch, { recursive: true, force: true })
  }
}
