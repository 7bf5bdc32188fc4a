import { ConfigurationError } from "../settings/configuration-error.ts"
import type { Environment } from "../settings/environment.ts"
import type { ProjectsReader } from "./fields.ts"
import { parseProjects } from "./parse.ts"
import type { Project, ProjectOf } from "./schema.ts"

export type {
  DestinationProject,
  IngestProject,
  StoresProject,
  VendorProject,
  WorkerProject,
} from "./schema.ts"

/** The configured projects. Look them up anew for every callback and job: they may change while the process runs. */
export interface Projects<P extends Project> {
  get(id: string): P | undefined
  /** In configuration order. A change makes a new array. */
  readonly ids: readonly string[]
}

/**
 * Reads the projects from `UNSEAL_PROJECTS_FILE`, or the single one from `UNSEAL_PROJECT_ID` and its variables. Reads only what the
 * reader needs: callback secrets for `ingest`, stores and keys for `worker`, credentials of the REST API for `vendor`, where the
 * plaintext is for `destination`, where all objects are for `stores`. `env` and the file may contain the rest as well. Throws
 * `ConfigurationError` with every problem and its place.
 */
export function readProjects<R extends ProjectsReader>(options: {
  for: R
  env: Environment
}): Projects<ProjectOf[R]> {
  const { projects, problems } = parseProjects(options.for, options.env)
  if (problems.length > 0) throw new ConfigurationError(problems)
  return { get: (id) => projects.get(id), ids: [...projects.keys()] }
}
