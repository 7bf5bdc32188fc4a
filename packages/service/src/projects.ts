import { ConfigurationError } from "./configuration-error.ts"
import type { Environment } from "./environment.ts"
import { parseProjects } from "./parse-projects.ts"
import type { ProjectsReader } from "./project-fields.ts"
import type { Project, ProjectOf } from "./project-schema.ts"

export type {
  DestinationProject,
  IngestProject,
  StoresProject,
  VendorProject,
  WorkerProject,
} from "./project-schema.ts"

/** The configured projects. Ask anew for every callback and job: the answer may change while the process runs. */
export interface Projects<P extends Project> {
  get(id: string): P | undefined
  /** In the order in which they are configured. Another array once they have changed. */
  readonly ids: readonly string[]
}

/**
 * Reads the projects from `UNSEAL_PROJECTS_FILE`, or the single one of `UNSEAL_PROJECT_ID` and the variables beside it. Only
 * what the reader needs is read: secrets of callbacks for `ingest`, stores and keys for `worker`, what the REST API asks for
 * `vendor`, where the plaintext is for `destination`, where all objects are for `stores`. `env` may hold the rest as well, as may the file. Throws `ConfigurationError` with every problem and where it is.
 */
export function readProjects<R extends ProjectsReader>(options: {
  for: R
  env: Environment
}): Projects<ProjectOf[R]> {
  const { projects, problems } = parseProjects(options.for, options.env)
  if (problems.length > 0) throw new ConfigurationError(problems)
  return { get: (id) => projects.get(id), ids: [...projects.keys()] }
}
