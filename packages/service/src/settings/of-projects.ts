/** The projects as settings: in a file, or a single one in variables, each with the row of its field. */
import { PROJECT_FIELDS, type ProjectField, type ProjectFields, READERS } from "../projects/fields.ts"
import type { ProcessName, SettingRow } from "./row.ts"

type Fields = typeof PROJECT_FIELDS

/** The processes that read a field's variable. */
type ProcessesOf<Field extends ProjectField> =
  | (typeof READERS)[Field["readers"][number]][number]
  | (Field extends { readonly alone: readonly (infer Process extends ProcessName)[] } ? Process : never)

type VariableSettings = {
  readonly [Name in keyof Fields as Fields[Name] extends { readonly variable: infer Variable extends string }
    ? Variable
    : never]: SettingRow & { readonly for: readonly ProcessesOf<Fields[Name]>[] }
}

const PROCESSES = ["ingest", "worker", "cli"] as const satisfies ProcessName[]

/** The processes that read `field`. */
export const processesOf = ({ readers, alone = [] }: ProjectField): readonly ProcessName[] =>
  PROCESSES.filter((name) =>
    [...alone, ...readers.flatMap<ProcessName>((reader) => READERS[reader])].includes(name),
  )

/** The rows of the variables of `fields`. */
export function settingsOf(fields: ProjectFields): Readonly<Record<string, SettingRow>> {
  const rows: Record<string, SettingRow> = {}
  for (const field of Object.values(fields)) {
    const { variable, kind, takes, meaning, secret, formerly } = field
    if (variable === undefined) continue
    rows[variable] = {
      ...{ for: processesOf(field), default: field.default ?? null, meaning },
      takes: kind === "list" ? `${takes}, separated by commas` : takes,
      ...(secret && { secret }),
      ...(formerly && { formerly: formerly.variable }),
    }
  }
  return rows
}

export const PROJECT_SETTINGS = {
  UNSEAL_PROJECTS_FILE: {
    for: ["ingest", "worker", "cli"],
    default: null,
    takes: "a path",
    meaning: "JSON or YAML file with any number of projects, instead of the variables of a single one",
  },
  ...(settingsOf(PROJECT_FIELDS) as VariableSettings),
  UNSEAL_FALLBACK_WORD: {
    for: ["cli"],
    default: null,
    meaning:
      "the REST API's word for keeping an archive with the vendor when its upload fails; unset, the platform's own",
  },
} as const
