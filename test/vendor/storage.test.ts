/** `unseal storage`, as processes, against the simulated REST API of both platforms. */
import { execFileSync } from "node:child_process"
import { readFileSync } from "node:fs"
import { readFile, writeFile } from "node:fs/promises"
import { createCertificate } from "@unseal/simulator/recording/openssl"
import { beforeAll, describe, expect, it } from "vitest"
import { S3_CREDENTIAL } from "../harness/stores.ts"
import { ACCOUNT_KEY, customerOf, SECRET_KEY } from "./customer.ts"
import { BUCKET } from "./simulated-vendor.ts"

describe.each(["opentok", "vonage"] as const)("a customer of %s", (platform) => {
  const customer = customerOf(platform)

  it("set registers target and certificate, and what is recorded then decrypts with its key", async () => {
    const { code, stdout } = await customer.run([
      "storage",
      "set",
      ...customer.toS3(),
      ...customer.certified(),
      "--verify",
    ])
    expect(code).toBe(0)
    expect(stdout).toBe(
      `project ${customer.vendor.projectId}: archives go to s3 ${BUCKET}, encrypted, without a fallback\n`,
    )
    expect(customer.vendor.rest.storage).toEqual({
      type: "s3",
      config: {
        bucket: BUCKET,
        accessKey: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
        secretKey: SECRET_KEY,
        endpoint: customer.vendor.s3.url,
      },
      fallback: "none",
      certificate: readFileSync(customer.vendor.certificateFile).toString("base64"),
    })
    const archive = await customer.vendor.cloud.record({ size: 752 })
    const credentials = { env: S3_CREDENTIAL }
    const query = `?${new URLSearchParams({ endpoint: customer.vendor.s3.url, region: "us-east-1" })}`
    const args = [
      `s3://${BUCKET}/${archive.key}${query}`,
      customer.path("opened.ts"),
      "--key",
      customer.vendor.keyFile,
    ]
    const { recording } = archive
    const decrypted = await customer.run(
      ["decrypt", ...args, "--password", recording!.encryptedPassword, "--digest"],
      credentials.env,
    )
    expect(decrypted.stdout).toContain(archive.sha256!.plaintext)
  })

  it("disable sends the same target with certificate null, and archives are no longer encrypted", async () => {
    await customer.run(["storage", "set", ...customer.toS3(), ...customer.certified()])
    const { certificate: _, ...target } = customer.vendor.rest.storage!
    const { code, stdout } = await customer.run(["storage", "disable", ...customer.toS3()])
    expect(code).toBe(0)
    expect(stdout).toContain("not encrypted")
    expect(customer.vendor.rest.storage).toEqual({ ...target, certificate: null })
    expect(await customer.vendor.cloud.record({ size: 752 })).toMatchObject({
      recording: { encryptedPassword: "" },
    })
  })

  it.each(["set", "disable"])(
    "%s --dry-run prints the request with its secrets masked, and sends none",
    async (command) => {
      const before = customer.vendor.rest.requests.length
      const certificate = command === "set" ? customer.certified() : []
      const { code, stdout } = await customer.run([
        "storage",
        command,
        ...customer.toS3(),
        ...certificate,
        "--dry-run",
      ])
      expect(code).toBe(0)
      const header = platform === "opentok" ? "X-OPENTOK-AUTH" : "Authorization"
      expect(JSON.parse(stdout)).toEqual({
        method: "PUT",
        url: `${customer.vendor.rest.url}/v2/project/${customer.vendor.projectId}/archive/storage`,
        headers: { [header]: "********", "Content-Type": "application/json" },
        body: {
          type: "s3",
          config: {
            bucket: BUCKET,
            accessKey: S3_CREDENTIAL.AWS_ACCESS_KEY_ID,
            secretKey: "********",
            endpoint: customer.vendor.s3.url,
          },
          fallback: "none",
          certificate:
            command === "set" ? readFileSync(customer.vendor.certificateFile).toString("base64") : null,
        },
      })
      const azure = await customer.run([
        "storage",
        command,
        ...customer.toAzure(),
        ...certificate,
        "--dry-run",
      ])
      expect(JSON.parse(azure.stdout).body.config.accountKey).toBe("********")
      expect(customer.vendor.rest.requests.length).toBe(before)
    },
  )

  it("is refused with the secret of another: exit code 1 and a plain sentence", async () => {
    const env =
      platform === "opentok"
        ? { UNSEAL_API_SECRET: "another" }
        : { UNSEAL_APPLICATION_KEY_FILE: customer.vendor.keyFile }
    for (const args of [
      ["storage", "disable", ...customer.toS3()],
      ["archives", "list"],
    ]) {
      const { code, stderr } = await customer.run(args, env)
      expect(code).toBe(1)
      expect(stderr).toContain("the project id or the secret is wrong")
      expect(stderr).toContain("check the project id, the API secret or private key")
      expect(stderr).not.toMatch(/ {4}at /)
    }
  })
})

describe("unseal storage", () => {
  const customer = customerOf("opentok")
  beforeAll(() => {
    const files = ["-out", customer.path("large.pem"), "-keyout", customer.path("large-key.pem")]
    const args = ["req", "-new", "-x509", "-nodes", "-subj", "/CN=large", "-newkey", "rsa:3072", ...files]
    execFileSync("openssl", args, { stdio: "pipe" })
  })

  it("set takes the form with line breaks, server-side encryption and the fallback in the platform's word", async () => {
    const more = ["--certificate-form", "newlines", "--sse", "s3", "--fallback"]
    const { code, stdout } = await customer.run([
      "storage",
      "set",
      ...customer.toS3(),
      ...customer.certified(),
      ...more,
      "--json",
    ])
    expect({ code, ...JSON.parse(stdout) }).toMatchObject({ code: 0, outcome: "set", fallback: "opentok" })
    expect(customer.vendor.rest.storage).toMatchObject({
      config: { sse: "s3" },
      fallback: "opentok",
      certificate: readFileSync(customer.vendor.certificateFile, "utf8"),
    })
    const word = { UNSEAL_FALLBACK_WORD: "vonage" }
    await customer.run(["storage", "set", ...customer.toS3(), ...customer.certified(), "--fallback"], word)
    expect(customer.vendor.rest.storage).toMatchObject({ fallback: "vonage" })
  })

  it("set takes Azure, and the keys from the environment", async () => {
    const env = { AZURE_STORAGE_ACCOUNT: "account", AZURE_STORAGE_KEY: ACCOUNT_KEY }
    const args = ["storage", "set", "azure", "--container", BUCKET, "--domain", "core.windows.net"]
    expect((await customer.run([...args, ...customer.certified()], env)).code).toBe(0)
    expect(customer.vendor.rest.storage).toMatchObject({
      type: "azure",
      config: {
        accountName: "account",
        accountKey: ACCOUNT_KEY,
        container: BUCKET,
        domain: "core.windows.net",
      },
    })
    expect(
      (await customer.run(["storage", "set", ...customer.toAzure(), ...customer.certified()])).code,
    ).toBe(0)
  })

  it("set sends the certificate alone, whatever else is in its file", async () => {
    const both =
      (await readFile(customer.vendor.keyFile, "utf8")) +
      (await readFile(customer.vendor.certificateFile, "utf8"))
    await writeFile(customer.path("both.pem"), both)
    expect(
      (await customer.run(["storage", "set", ...customer.toS3(), "--certificate", customer.path("both.pem")]))
        .code,
    ).toBe(0)
    expect(customer.vendor.rest.storage!.certificate).toBe(
      readFileSync(customer.vendor.certificateFile).toString("base64"),
    )
  })

  it("set with another certificate is a rotation: archives from then on need the new key", async () => {
    const second = { certificateFile: customer.path("cert-2.pem"), keyFile: customer.path("key-2.pem") }
    await createCertificate(second)
    await customer.run(["storage", "set", ...customer.toS3(), ...customer.certified()])
    const before = await customer.vendor.cloud.record({ size: 752 })
    await customer.run(["storage", "set", ...customer.toS3(), "--certificate", second.certificateFile])
    const after = await customer.vendor.cloud.record({ size: 752 })
    const inspect = (password: string, key: string) =>
      customer.run(["inspect", "--password", password, "--key", key]).then(({ code }) => code)
    expect(await inspect(before.recording!.encryptedPassword, customer.vendor.keyFile)).toBe(0)
    expect(await inspect(after.recording!.encryptedPassword, second.keyFile)).toBe(0)
    expect(await inspect(after.recording!.encryptedPassword, customer.vendor.keyFile)).toBe(1)
  })

  it("--verify writes a test object with the given credentials, removes it, and shows it to nobody", async () => {
    const uploads = () =>
      customer.vendor.s3.operations.entries().map(({ operation, key }) => ({ operation, key }))
    const before = uploads().length
    // Neither may have an effect: the vendor will have only the options' credentials.
    const env = {
      AWS_ACCESS_KEY_ID: "other",
      AWS_SECRET_ACCESS_KEY: "other",
      AWS_ENDPOINT_URL: "http://127.0.0.1:9",
    }
    const { code, stderr } = await customer.run(["storage", "disable", ...customer.toS3(), "--verify"], env)
    expect(stderr).toContain("and let it be removed")
    expect(code).toBe(0)
    const key = expect.stringMatching(
      new RegExp(`^${customer.vendor.projectId}/unseal-verify-[0-9a-f-]{36}\\.txt$`),
    )
    const done = uploads().slice(before)
    expect(done).toContainEqual({ operation: "PutObject", key })
    expect(done.at(-1)).toEqual({ operation: "DeleteObject", key })
  })

  it("--verify reports a test object that may not be removed, and goes on", async () => {
    const fault = customer.vendor.s3.faults.add({
      operation: "DeleteObject",
      times: Number.POSITIVE_INFINITY,
      action: { status: 403 },
    })
    const { code, stderr } = await customer.run(["storage", "disable", ...customer.toS3(), "--verify"])
    fault.remove()
    expect(code).toBe(0)
    expect(stderr).toMatch(/took the test object s3:\/\/archives\/\S+\.txt, but did not let it be removed/)
  })

  it.each<[string, number, () => string[]]>([
    ["wrong credentials", 1, () => customer.toS3("wrong-key")],
    [
      "a bucket that is not there",
      1,
      () => customer.toS3().map((word) => (word === BUCKET ? "nowhere" : word)),
    ],
    ["an account that nobody has", 3, () => [...customer.toAzure(), "--domain", "invalid"]],
  ])("--verify refuses %s before anything is sent to the vendor", async (_, expected, target) => {
    const before = customer.vendor.rest.requests.length
    const { code, stderr } = await customer.run([
      "storage",
      "set",
      ...target(),
      ...customer.certified(),
      "--verify",
    ])
    expect(stderr).toContain("nothing was sent to the vendor")
    expect(code).toBe(expected)
    expect(customer.vendor.rest.requests.length).toBe(before)
  })

  it.each<[string, string[], string, Record<string, string>?]>([
    ["without a certificate", [], "--certificate FILE"],
    ["with a certificate of 3072 bits", ["--certificate", "large.pem"], "the vendor takes 2048 or fewer"],
    ["with options of another target", ["--certificate", "cert.pem", "--domain", "x"], "--domain"],
    ["with --verify and --dry-run", ["--certificate", "cert.pem", "--verify", "--dry-run"], "one of them"],
    [
      "for another platform than the id's",
      ["--certificate", "cert.pem"],
      "UNSEAL_PLATFORM",
      { UNSEAL_PLATFORM: "vonage" },
    ],
    [
      "without a secret of the project",
      ["--certificate", "cert.pem"],
      "no credentials",
      { UNSEAL_API_SECRET: "" },
    ],
  ])("set is refused %s, with exit code 2, before anything is sent", async (_, args, words, env) => {
    const before = customer.vendor.rest.requests.length
    const files = args.map((word) => (word.endsWith(".pem") ? customer.path(word) : word))
    const { code, stderr } = await customer.run(["storage", "set", ...customer.toS3(), ...files], env)
    expect(stderr).toContain(words)
    expect(code).toBe(2)
    expect(customer.vendor.rest.requests.length).toBe(before)
  })

  it("set sends a large certificate if told, and says why the vendor refuses it", async () => {
    const args = ["--certificate", customer.path("large.pem"), "--allow-large"]
    const { code, stderr } = await customer.run(["storage", "set", ...customer.toS3(), ...args])
    expect(code).toBe(1)
    expect(stderr).toContain("invalid JSON, or no upload target that it accepts (400)")
  })

  it("may be tried again, with exit code 3, where nobody listens", async () => {
    const { code, stderr } = await customer.run(["storage", "disable", ...customer.toS3()], {
      UNSEAL_API_URL: "http://127.0.0.1:1",
    })
    expect(code).toBe(3)
    expect(stderr).toContain("127.0.0.1:1 could not be asked")
  })
})
