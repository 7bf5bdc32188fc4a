import { type Command, InvalidArgumentError, Option } from "commander"
import type { CertificateCheckOptions } from "./check.ts"
import type { CertificateCreateOptions } from "./create.ts"

/** Adds `unseal certificate create`, `encode` and `check` to `certificate`. */
export function addCertificateCommands(certificate: Command, signal: AbortSignal): void {
  certificate
    .command("create")
    .description("make a key pair and its certificate; files that exist are never replaced")
    .option("--out <file>", "the certificate", "cert.pem")
    .option("--keyout <file>", "the private key", "key.pem")
    .addOption(
      new Option("--bits <count>", "the size of the key").default(2048).argParser(between(512, 16_384)),
    )
    .addOption(
      new Option("--days <count>", "how long the certificate is valid")
        .default(365)
        .argParser(between(1, 36_500)),
    )
    .option("--subject <subject>", "the subject, in the form of openssl's -subj", "/CN=unseal")
    .option("--passphrase-file <file>", "protect the key with the passphrase in this file")
    .option(
      "--generate-passphrase",
      "make up a passphrase, and write it beside the key: key.passphrase for key.pem",
    )
    .option("--no-passphrase", "leave the key unprotected; without any of the three, ask at the terminal")
    .option("--allow-large", "allow a key of more than 2048 bits, which the vendor refuses")
    .option("--json", "print the result as JSON")
    .action(async (options: CertificateCreateOptions) =>
      (await import("./create.ts")).certificateCreateCommand(options, signal),
    )
  certificate
    .command("encode")
    .description("print a certificate as the vendor's REST API takes it")
    .argument("<certificate>", "a PEM file; everything else in it is left out")
    .addOption(
      new Option("--form <form>", "base64 of the PEM, the PEM with \\n for its line breaks, or both")
        .choices(["base64", "newlines", "both"])
        .default("both"),
    )
    .option("--json", "print the result as JSON")
    .action(async (path, options) =>
      (await import("./encode.ts")).certificateEncodeCommand(path, options, signal),
    )
  certificate
    .command("check")
    .description("check what a certificate is good for, and prove that a key belongs to it")
    .argument("<certificate>", "a PEM file")
    .option("--key <file>", "the private key (PEM)")
    .option("--passphrase-file <file>", "the passphrase of the key; default: key.passphrase beside key.pem")
    .addOption(
      new Option(
        "--for <purpose>",
        "what must be possible for exit code 0; an expired certificate still decrypts",
      )
        .choices(["registration", "decryption"])
        .default("registration"),
    )
    .option("--allow-large", "accept more than 2048 bits")
    .option("--json", "print the result as JSON")
    .action(async (path: string, options: CertificateCheckOptions) =>
      (await import("./check.ts")).certificateCheckCommand(path, options, signal),
    )
}

const between = (min: number, max: number) => (text: string) => {
  const value = /^\d{1,6}$/.test(text) ? Number(text) : Number.NaN
  if (value >= min && value <= max) return value
  throw new InvalidArgumentError(`must be a whole number from ${min} to ${max}`)
}
