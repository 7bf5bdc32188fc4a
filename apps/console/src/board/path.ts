/** Where bull-board is. */
import type { Request } from "express"

export const BOARD_PATH = "/board/"

/** Whether bull-board's script sent the request, and not a person. */
export const isPoll = (request: Pick<Request, "path">): boolean =>
  request.path.startsWith(`${BOARD_PATH}api/`)
