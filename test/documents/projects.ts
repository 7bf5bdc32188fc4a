/** The table of fields in `docs/projects.md`; what is around it is written by hand. */
import { readFileSync } from "node:fs"
import { resolve } from "node:path"
import {
  namesInFile,
  PROJECT_FIELDS,
  type ProjectField,
  type ProjectFields,
} from "@unseal/service/projects/fields"
import { processesOf } from "@unseal/service/settings/of-projects"
import { code, table } from "./markdown.ts"

const BETWEEN =
  /(?<=<!-- Fields: written by npm run docs from the code\. -->\n).*?(?=<!-- End of the fields\. -->)/s

export function projectsDocument(): string {
  const text = readFileSync(resolve(import.meta.dirname, "../../docs/projects.md"), "utf8")
  return text.replace(BETWEEN, () => `\n${fieldsTable(PROJECT_FIELDS)}\n`)
}

export function fieldsTable(fields: ProjectFields): string {
  const rows = Object.entries(fields).map(([name, field]) => {
    const readers = processesOf({ ...field, alone: [] })
    const defaults = field.default?.split(field.kind === "list" ? "," : /(?!)/).map(code) ?? ["–"]
    return [
      namesInFile(name, field).map(code).join(", "),
      readers.length === 3 ? "all" : readers.join(", "),
      takesInFile(field),
      defaults.join(", "),
      field.variable === undefined ? "–" : code(field.variable),
      field.meaning,
    ]
  })
  return table(["field", "read by", "takes", "default", "variable", "meaning"], rows)
}

function takesInFile({ takes, kind, secret }: ProjectField): string {
  if (secret) return `path of a file${kind === "list" ? ", or list of paths" : ""}: ${takes}`
  return kind === "list" ? `list of ${takes}` : takes
}
