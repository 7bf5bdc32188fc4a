/** Templates of store keys: a relative path with `{projectId}` and `{archiveId}` (the form is checked in store-location.ts). */

/** The key that `template` stands for. */
export function fillKeyTemplate(
  template: string,
  { projectId, archiveId }: { readonly projectId: string; readonly archiveId: string },
): string {
  return template.replaceAll("{projectId}", projectId).replaceAll("{archiveId}", archiveId)
}

const ARCHIVE_ID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"

/** Whether a key is one that `template` stands for, for some archive of `projectId`. */
export function matchesKeyTemplate(template: string, projectId: string, key: string): boolean {
  const pattern = template
    .replaceAll("{projectId}", projectId)
    .split("{archiveId}")
    .map((text) => text.replace(/[\\^$.*+?()[\]{}|/-]/g, "\\$&"))
    .join(ARCHIVE_ID)
  return new RegExp(`^${pattern}$`, "s").test(key)
}
