import { CERTIFICATE_FORMS } from "@unseal/vendor/upload-target"
import { Argument, type Command, Option } from "commander"
import { withVendor } from "../vendor-options.ts"
import type { SetOptions, StorageOptions } from "./register.ts"

/** Adds `unseal storage set` and `unseal storage disable` to `storage`. */
export function addStorageCommands(storage: Command, signal: AbortSignal): void {
  withTarget(storage.command("set"))
    .description("register the upload target and the certificate: archives are encrypted from then on")
    .option("--certificate <file>", "the certificate (PEM); nothing else in the file is sent")
    .addOption(
      new Option("--certificate-form <form>", "base64 of the PEM, or the PEM with \\n for its line breaks")
        .choices(CERTIFICATE_FORMS)
        .default("base64"),
    )
    .option("--allow-large", "send a certificate of more than 2048 bits anyway")
    .action(async (type: "s3" | "azure", options: SetOptions) =>
      (await import("./register.ts")).storageSetCommand(type, options, signal),
    )
  withTarget(storage.command("disable"))
    .description("register the upload target without a certificate: archives are no longer encrypted")
    .action(async (type: "s3" | "azure", options: StorageOptions) =>
      (await import("./register.ts")).storageDisableCommand(type, options, signal),
    )
}

const withTarget = (command: Command): Command =>
  withVendor(command)
    .addArgument(new Argument("<type>", "of the target").choices(["s3", "azure"]))
    .option("--bucket <name>", "s3: the bucket")
    .option("--access-key <id>", "s3: the access key's id (or AWS_ACCESS_KEY_ID)")
    .option("--secret-key-file <file>", "s3: a file with the secret key (or AWS_SECRET_ACCESS_KEY)")
    .option("--endpoint <url>", "s3: base URL of a store that is not Amazon's")
    .addOption(new Option("--sse <rule>", "s3: server-side encryption").choices(["s3", "none"]))
    .option("--container <name>", "azure: the container")
    .option("--account-name <name>", "azure: the account (or AZURE_STORAGE_ACCOUNT)")
    .option("--account-key-file <file>", "azure: a file with the account's key (or AZURE_STORAGE_KEY)")
    .option("--domain <name>", "azure: the domain, if it is not core.windows.net")
    .option("--fallback", "keep an archive with the vendor if its upload fails")
    .option("--fallback-word <word>", "the vendor's word for that (or UNSEAL_FALLBACK_WORD)")
    .option("--verify", "write a test object to the target first, and remove it")
    .option("--region <name>", "the bucket's region, for --verify (or AWS_REGION)")
    .option("--dry-run", "only print the request, its secrets masked")
    .option("--json", "print the result as JSON")
