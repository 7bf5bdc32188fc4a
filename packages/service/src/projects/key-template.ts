/** Templates of store keys: relative paths with `{projectId}` and `{archiveId}`. */

/** What is wrong with `template` as a key template, as a clause, or `null`. */
export function keyTemplateProblem(template: string): string | null {
  const stripped = template.replaceAll("{projectId}", "p").replaceAll("{archiveId}", "a")
  const unknown = /\{[^}]*\}|[{}]/.exec(stripped)
  if (unknown) return `holds ${unknown[0]}: only {projectId} and {archiveId} are known`
  if (!template.includes("{archiveId}")) return "must hold {archiveId}"
  // Stores refuse control characters in keys, each in its own way.
  if ([...stripped].some((character) => character < " " || character === "\x7f"))
    return "holds a control character"
  return stripped.split("/").some((segment) => ["", ".", ".."].includes(segment))
    ? "must be a relative path without empty, . or .. segments"
    : null
}

/** Fills `template`. */
export function fillKeyTemplate(
  template: string,
  { projectId, archiveId }: { readonly projectId: string; readonly archiveId: string },
): string {
  return template.replaceAll("{projectId}", projectId).replaceAll("{archiveId}", archiveId)
}

const ARCHIVE_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

/** Whether `template` can produce `key` for some archive of `projectId`. */
export function matchesKeyTemplate(template: string, projectId: string, key: string): boolean {
  const pattern = template
    .replaceAll("{projectId}", projectId)
    .split("{archiveId}")
    .map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"))
    .join(ARCHIVE_ID)
  return new RegExp(`^${pattern}$`, "s").test(key)
}
