/**
 * A submission can't be read, or can't be read past some place:
 * - `ERR_NOT_CALLBACKS`: it is something else, such as a recording, a key, an archive of files, or a table without the columns.
 * - `ERR_SUBMISSION_BROKEN`: it is cut or damaged. Everything before that place was read, and nothing after it.
 */
type SubmissionErrorCode = "ERR_NOT_CALLBACKS" | "ERR_SUBMISSION_BROKEN"

/** Why reading a submission ended early. The message is a clause that names the file, the place and the remedy; it holds no secret. */
export class SubmissionError extends Error {
  override readonly name = "SubmissionError"
  readonly code: SubmissionErrorCode

  constructor(code: SubmissionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}
