/** nginx before an S3 server: TLS, and what a proxy does to answers. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { userInfo } from "node:os"
import { join } from "node:path"
import { createCertificate } from "@unseal/simulator/recording/openssl"
import { freePorts } from "../harness/network/free-port.ts"
import { ensureProgram } from "../harness/programs.ts"
import { createServerGroup } from "./server-process.ts"

/** How nginx stands before the server, by name. */
const SITES = {
  buffered: [],
  unbuffered: ["proxy_buffering off;", "proxy_request_buffering off;", "proxy_http_version 1.1;"],
  oneEach: ["keepalive_requests 1;"],
  impatient: ["keepalive_timeout 1s;"],
  small: ["client_max_body_size 1m;"],
} as const satisfies Record<string, readonly string[]>

export type Site = keyof typeof SITES | "gone"

export interface Nginx {
  readonly endpoints: Readonly<Record<Site, string>>
  readonly certificateFile: string
  close(): Promise<void>
}

export async function startNginx(upstream: string): Promise<Nginx> {
  const nginx = await ensureProgram("nginx", {
    packages: { apt: "nginx-light", dnf: "nginx", apk: "nginx", brew: "nginx" },
  })
  const group = createServerGroup("nginx")
  try {
    const at = (name: string) => join(group.directory, name)
    mkdirSync(at("temporary"))
    const certificate = { certificateFile: at("certificate.pem"), keyFile: at("key.pem") }
    await createCertificate(certificate, { subjectAltName: "DNS:localhost,IP:127.0.0.1" })
    const names = [...(Object.keys(SITES) as (keyof typeof SITES)[]), "gone"] as const
    const [nobody, ...ports] = await freePorts(names.length + 1)
    const pass = (to = upstream) => `proxy_pass ${to}; proxy_set_header Host $http_host;`
    const locations: Record<Site, string> = {
      ...(Object.fromEntries(
        Object.entries(SITES).map(([name, directives]) => [
          name,
          `${directives.join(" ")} location / { ${pass()} }`,
        ]),
      ) as Record<keyof typeof SITES, string>),
      gone: `location / { ${pass(`http://127.0.0.1:${nobody}`)} }`,
    }
    const servers = names.map((name, index) => {
      const listen = `127.0.0.1:${ports[index]}`
      return `server { listen ${listen} ssl; ${locations[name]} }`
    })
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map(
      (kind) => `${kind}_temp_path ${at("temporary")}/${kind};`,
    )
    const config = `
      daemon off; pid ${at("nginx.pid")}; error_log stderr crit;
      ${userInfo().uid === 0 ? `user ${userInfo().username};` : ""}
      events {}
      http {
        access_log off; client_max_body_size 0; ${temporary.join(" ")}
        ssl_certificate ${certificate.certificateFile}; ssl_certificate_key ${certificate.keyFile};
        ${servers.join("\n")}
      }`
    writeFileSync(at("nginx.conf"), config)
    // Relative paths, also of what the package compiled in, are below our own directory.
    await group.start(nginx, ["-p", group.directory, "-c", at("nginx.conf"), "-e", "stderr"], ports)
    return {
      endpoints: Object.fromEntries(
        names.map((name, index) => [name, `https://127.0.0.1:${ports[index]}`]),
      ) as Record<Site, string>,
      certificateFile: certificate.certificateFile,
      close: group.close,
    }
  } catch (error) {
    await group.close()
    throw error
  }
}

/** The PEM that a client must trust to talk to it. */
export const certificateOf = ({ certificateFile }: Nginx): string => readFileSync(certificateFile, "utf8")
