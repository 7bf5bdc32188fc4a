import { type FileHandle, open, unlink } from "node:fs/promises"
import type { SubmittedLine } from "@unseal/operations/submission/read"
import { UsageError } from "../terminal/exit.ts"

/**
 * The file with the refused lines of a submission. Each line is unchanged, below a comment with its place and the reason, so that
 * the file can be corrected and submitted. It holds encrypted passwords, so only its owner may read it.
 */
export class Rejects {
  readonly #path: string
  readonly #file: FileHandle
  #header: string | undefined
  #isEmpty = true

  private constructor(path: string, file: FileHandle) {
    this.#path = path
    this.#file = file
  }

  /** Creates the file. Throws `UsageError` if it exists, or can't be created. */
  static async create(path: string): Promise<Rejects> {
    try {
      return new Rejects(path, await open(path, "wx", 0o600))
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw new UsageError(
        code === "EEXIST"
          ? `${path} exists already, and is not replaced: give another file to --rejects`
          : `${path} can't be written: ${code}`,
      )
    }
  }

  async add({ file, line, text, header }: SubmittedLine, reason: string): Promise<void> {
    this.#isEmpty = false
    const lines = [`# ${file}, line ${line}: ${reason}`]
    if (header !== undefined && header !== this.#header) lines.push(header)
    this.#header = header ?? this.#header
    // An indented object becomes one line. That is safe, because JSON writes a line break within a string as an escape.
    if (text !== "") lines.push(/^\s*\{/.test(text) ? text.replace(/\r?\n/g, " ").trim() : text)
    else lines.push("# it is not copied here")
    await this.#written(() => this.#file.write(`${lines.join("\n")}\n`))
  }

  /** Resolves when everything is on the disk. Removes the file if nothing was refused. */
  async close(): Promise<void> {
    try {
      await this.#written(() => (this.#isEmpty ? unlink(this.#path) : this.#file.sync()))
    } finally {
      await this.#file.close()
    }
  }

  async #written(write: () => Promise<unknown>): Promise<void> {
    try {
      await write()
    } catch (error) {
      throw new UsageError(`${this.#path} can't be written: ${(error as NodeJS.ErrnoException).code}`)
    }
  }
}
