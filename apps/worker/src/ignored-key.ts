/** Why nobody looks into `file` of a key directory, as a clause that names it. */
export const whyIgnored = (file: string): string =>
  file.endsWith(".passphrase")
    ? `${file} is ignored: there is no ${file.replace(/\.passphrase$/, ".pem")} beside it`
    : `${file} is ignored: its name does not end in .pem`
