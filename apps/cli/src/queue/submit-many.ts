/** `unseal submit` with files, folders, and lines of any form: prints what packages/operations does with them. */
import "@unseal/service/v8-flags"
import { counted } from "@unseal/archive/counted"
import { readSubmission, type SubmittedLine } from "@unseal/operations/submission/read"
import { SubmissionError } from "@unseal/operations/submission/submission-error"
import { type SettledLine, submitLines } from "@unseal/operations/submission/submit-lines"
import type { Lane } from "@unseal/queue/jobs/lane"
import { env, readShownProjects } from "../config.ts"
import { EXIT, UsageError } from "../terminal/exit.ts"
import { withQueue } from "./connection.ts"
import { openDoneLooks } from "./done-looks.ts"
import { Rejects } from "./rejects.ts"
import type { SubmissionFile } from "./submission-files.ts"
import { createLineProgress, lineJson, lineText, print, Tally, tallyText } from "./submit-report.ts"

export interface SubmitOptions {
  readonly project?: string
  readonly again?: true
  /** Default: live for a single callback, bulk for everything else. */
  readonly lane?: Lane
  readonly dryRun?: true
  /** Where to write what is refused. */
  readonly rejects?: string
  /** `false`: does not check at the destinations whether archives are done. */
  readonly look?: boolean
  readonly json?: true
}

/** A file and how to read it, once. */
export interface SubmissionSource {
  readonly file: SubmissionFile
  open(signal: AbortSignal): AsyncGenerator<Buffer>
}

/** How many refused lines are reported one by one. */
const MOST_TOLD = 10

export async function submitMany(
  sources: readonly SubmissionSource[],
  options: SubmitOptions,
  signal: AbortSignal,
): Promise<void> {
  const { lane = "bulk", dryRun = false, again = false, json = false } = options
  const projects = readShownProjects({})?.projects
  const projectId = options.project?.toLowerCase()
  if (projectId !== undefined && projects !== undefined && !projects.get(projectId))
    throw new UsageError(`there is no project ${projectId}: correct --project, or add the project`)
  const rejects = options.rejects === undefined ? undefined : await Rejects.create(options.rejects)
  const sizes = sources.map(({ file }) => file.size)
  const progress = createLineProgress(
    sizes.includes(null) ? null : sizes.reduce<number>((sum, size) => sum + size!, 0),
  )
  const say = (line: string) => {
    progress.clear()
    process.stderr.write(`unseal: ${line}\n`)
  }
  const looks = openDoneLooks(options.look === false ? undefined : projects, say)
  const tally = new Tally()
  const input = new Input(sources, projectId ?? (env.UNSEAL_PROJECTS_FILE ? undefined : onlyProject()), say)
  let troubleTold: string | undefined

  async function report(block: readonly SettledLine[]): Promise<void> {
    let text = ""
    for (const each of block) {
      tally.add(each)
      if (json) text += `${lineJson(each)}\n`
      else if (dryRun) text += `${lineText(each, dryRun)}\n`
      if (each.settled.outcome !== "refused") continue
      await rejects?.add(each.line, each.settled.reason)
      if (tally.counts.refused <= MOST_TOLD && !dryRun) say(lineText(each, dryRun))
    }
    if (text !== "") await print(text, signal)
    progress.update(tally.counts.lines, input.bytesRead)
    troubleTold = undefined
  }

  function summary(): void {
    progress.clear()
    if (json) process.stdout.write(`${JSON.stringify({ dryRun, lane, ...tally.counts })}\n`)
    else process.stdout.write(tallyText(tally, lane, dryRun))
    if (tally.counts.refused === 0) return
    say(
      options.rejects === undefined
        ? `${counted(tally.counts.refused, "line was", "lines were")} refused: --rejects FILE keeps them, so that you can correct and submit them`
        : `${counted(tally.counts.refused, "line was", "lines were")} refused, and kept in ${options.rejects}: correct and submit them`,
    )
  }

  try {
    await withQueue(
      async (access) => {
        const settling = submitLines(
          access,
          input.lines(signal),
          {
            ...{ lane, again, dryRun, isDone: looks.isDone },
            isKnown: (id) => projects === undefined || projects.get(id) !== undefined,
            onTrouble(reason) {
              if (troubleTold !== reason) say(`waiting: ${reason}`)
              troubleTold = reason
            },
          },
          signal,
        )
        for await (const block of settling) await report(block)
      },
      signal,
      { enqueues: true, finishes: true },
    )
  } catch (error) {
    summary()
    if (tally.last !== undefined)
      say(
        `stopped after ${tally.last.file}, line ${tally.last.line}: submit the same input again; lines that are in the queue count as duplicates`,
      )
    throw error
  } finally {
    await looks.close()
    await rejects?.close()
  }
  summary()
  input.judge(tally)
  if (tally.counts.refused > 0 || input.hasFailed) process.exitCode = EXIT.failed
}

const onlyProject = () => env.UNSEAL_PROJECT_ID?.toLowerCase() || undefined

/** All lines of all files. A file that can't be read, or is something else, does not stop the others. */
class Input {
  bytesRead = 0
  hasFailed = false
  readonly #sources: readonly SubmissionSource[]
  readonly #projectId: string | undefined
  readonly #say: (line: string) => void
  #callbacks = 0

  constructor(
    sources: readonly SubmissionSource[],
    projectId: string | undefined,
    say: (line: string) => void,
  ) {
    this.#sources = sources
    this.#projectId = projectId
    this.#say = say
  }

  async *lines(signal: AbortSignal): AsyncGenerator<SubmittedLine> {
    for (const { file, open } of this.#sources) {
      const name = file.path === "-" ? "standard input" : file.path
      let [lines, callbacks] = [0, 0]
      try {
        const options = {
          file: name,
          ...(this.#projectId !== undefined && { projectId: this.#projectId }),
          onBytes: (bytes: number) => {
            this.bytesRead += bytes
          },
        }
        for await (const line of readSubmission(open(signal), options, signal)) {
          lines++
          if (!("ignored" in line && line.ignored === "no-callback")) callbacks++
          yield line
        }
        this.#callbacks += callbacks
        if (callbacks > 0) continue
        const nothing = lines === 0 ? "is empty" : `holds no callback in ${counted(lines, "line")}`
        this.#fail(`${name} ${nothing}: is it the right file?`, file.isFound)
      } catch (error) {
        this.#callbacks += callbacks
        if (!(error instanceof SubmissionError || error instanceof UsageError)) throw error
        const isOther = error instanceof SubmissionError && error.code === "ERR_NOT_CALLBACKS"
        this.#fail(error.message, file.isFound && isOther && lines === 0)
      }
    }
  }

  /** Reports what is wrong with the whole input. */
  judge({ counts, ignored }: Tally): void {
    if (this.hasFailed) return
    if (this.#callbacks === 0) this.#fail("the input holds no callback: is it the right folder?", false)
    const others = ignored["other-project"] ?? 0
    if (others > 0 && others === this.#callbacks && counts.refused === 0)
      this.#fail(`all archives belong to other projects than ${this.#projectId}: give --project ID`, false)
  }

  #fail(problem: string, isLeftOut: boolean): void {
    this.#say(isLeftOut ? `left out: ${problem}` : problem)
    if (!isLeftOut) this.hasFailed = true
  }
}
