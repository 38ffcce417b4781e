/** Where a router calls, and on what terms. */

import { type ChannelOptions, type ChannelCredentials, credentials, Metadata } from "@grpc/grpc-js";
import { invalid } from "./errors.js";
import { VERSION } from "./version.js";

/** What makes the connection private, and says who calls. Each file's content, in PEM. */
export interface TlsOptions {
  /** The authorities whose certificates are trusted; by default those that Node.js trusts. */
  readonly ca?: string | Buffer;
  /** The client's own certificate and its private key, for a server that asks for one. */
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  /** The name in the server's certificate, if it is not that of the address. */
  readonly serverName?: string;
}

const SERVICE = "archroute.v1.RouterService";
// A decision changes nothing on the server, so that a call may be made twice. A stream is for its caller to
// begin anew.
const RETRIED = ["Route", "ListPolicySets", "GetPolicySet"];

/**
 * Which calls gRPC makes again by itself, within their deadline, and how soon. A server that gives
 * `grpc-retry-pushback-ms` says when instead. https://github.com/grpc/proposal/blob/master/A6-client-retries.md
 */
const SERVICE_CONFIG = {
  methodConfig: [
    {
      name: RETRIED.map((method) => ({ service: SERVICE, method })),
      retryPolicy: {
        maxAttempts: 3,
        initialBackoff: "0.02s",
        maxBackoff: "0.2s",
        backoffMultiplier: 3,
        retryableStatusCodes: ["UNAVAILABLE", "RESOURCE_EXHAUSTED"],
      },
    },
  ],
  // Each failure takes a token and each success gives back a tenth of one; below half there are no retries.
  retryThrottling: { maxTokens: 20, tokenRatio: 0.1 },
};

const OPTIONS: ChannelOptions = {
  // How much to send is for the server to limit.
  "grpc.max_send_message_length": -1,
  "grpc.max_receive_message_length": 16 * 1024 * 1024,
  "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
  // By default a server that was away for a while would be found again only after two minutes.
  "grpc.initial_reconnect_backoff_ms": 200,
  "grpc.max_reconnect_backoff_ms": 5_000,
  "grpc.primary_user_agent": `archroute-node/${VERSION}`,
};

const HOST_AND_PORT = /^(?<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/[\]]+):(?<port>[0-9]{1,5})$/;
const NAMED_BY_SCHEME = /^(?:(?:dns|unix|unix-abstract|ipv4|ipv6):.|(?!https?:)[a-z][a-z0-9+.-]*:\/\/)/;
const LOOPBACK = /^(?:localhost|127\.[0-9.]+|\[::1\])$/;

/** Returns an address that has a port, or that names a scheme. Throws `InvalidRequestError` for another. */
export function checkedAddress(address: string): string {
  if (typeof address === "string") {
    const port = Number(HOST_AND_PORT.exec(address)?.groups?.["port"]);
    // Left to itself, gRPC would take 443 for a port that is missing.
    if (NAMED_BY_SCHEME.test(address) || (port > 0 && port < 2 ** 16)) {
      return address;
    }
  }
  throw invalid("address", `${JSON.stringify(address)} is not host:port, such as localhost:50051`);
}

/** The credentials of a connection; plain text without `tls`. */
export function channelCredentials(tls: boolean | TlsOptions | undefined): ChannelCredentials {
  if (!tls) {
    return credentials.createInsecure();
  }
  const { ca, cert, key } = tls === true ? ({} as TlsOptions) : tls;
  if ((cert === undefined) !== (key === undefined)) {
    throw invalid("tls", "cert and key go together: give both, or none");
  }
  return credentials.createSsl(buffer(ca), buffer(key), buffer(cert));
}

/** The options of a channel: those of this package, under those of the caller. */
export function channelOptions(tls: boolean | TlsOptions | undefined, own: ChannelOptions = {}): ChannelOptions {
  const name = typeof tls === "object" ? tls.serverName : undefined;
  const named = name === undefined ? {} : { "grpc.ssl_target_name_override": name, "grpc.default_authority": name };
  return { ...OPTIONS, ...named, ...own };
}

/** What says who calls, in each call's metadata. */
export function callMetadata(token: string | undefined): Metadata {
  const metadata = new Metadata();
  if (token !== undefined) {
    metadata.set("authorization", `Bearer ${token}`);
  }
  return metadata;
}

/** Throws `InvalidRequestError` if a token would leave this machine in plain text. */
export function checkTokenIsPrivate(address: string, tls: boolean | TlsOptions | undefined): void {
  const host = HOST_AND_PORT.exec(address)?.groups?.["host"];
  if (!tls && !address.startsWith("unix:") && !(host !== undefined && LOOPBACK.test(host))) {
    throw invalid("token", `would go to ${address} in plain text; set tls as well`);
  }
}

function buffer(pem: string | Buffer | undefined): Buffer | null {
  return pem === undefined ? null : Buffer.from(pem as string);
}
