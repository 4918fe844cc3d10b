// The rules for names, payloads, keys and headers, as the Rust library has them. ../../cases.json has cases of both.

export const PAYLOAD_BYTES_MAX = 240 * 1024;
export const KEY_BYTES_MAX = 512;
export const HEADERS_BYTES_MAX = 8192;
/** Deeper JSON may exceed Postgres's stack. */
const DEPTH_MAX = 2000;

const RESERVED_PREFIXES = ["outbox-", "connect-", "content-", "accept", "grpc-", "proxy-"];
const RESERVED = new Set([
  "host",
  "connection",
  "keep-alive",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "authorization",
  "cookie",
  "idempotency-key",
  "user-agent",
]);

export function isEventName(name: string): boolean {
  return /^[a-z][a-z0-9_]{0,127}$/.test(name);
}

/** The reason to refuse a header. */
export function headerProblem(header: string, value: unknown): string | undefined {
  if (!/^[a-z][a-z0-9-]{0,63}$/.test(header)) {
    return "is malformed: names are at most 64 lower-case letters, digits and dashes";
  }
  if (RESERVED.has(header) || RESERVED_PREFIXES.some((prefix) => header.startsWith(prefix))) {
    return "is reserved: the call to the RPC sets it itself";
  }
  if (header.endsWith("-bin")) {
    return "is reserved: in gRPC the value of a name that ends in -bin is base64";
  }
  if (typeof value !== "string" || !/^[\x20-\x7e]*$/.test(value)) {
    return "has a value that is not printable ASCII";
  }
  return undefined;
}

/**
 * The reason to refuse a payload that JSON.stringify wrote. It writes an escape for a code unit only where that stands for no
 * character. An object has no key twice, and no number is beyond a double, because a message was written.
 */
export function payloadProblem(payload: string): string | undefined {
  let depth = 0;
  let isText = false;
  for (let at = 0; at < payload.length; at += 1) {
    const c = payload[at];
    if (isText && c === "\\") {
      if (/^u(0000|d[89a-f])/.test(payload.slice(at + 1, at + 6))) {
        return "has an escape that stands for no character: \\u0000, or half of a surrogate pair";
      }
      at += 1;
    } else if (c === '"') {
      isText = !isText;
    } else if (!isText && (c === "{" || c === "[")) {
      depth += 1;
      if (depth > DEPTH_MAX) return "is nested too deep";
    } else if (!isText && (c === "}" || c === "]")) {
      depth -= 1;
    }
  }
  return payload.startsWith("{") ? undefined : "is not a JSON object";
}
