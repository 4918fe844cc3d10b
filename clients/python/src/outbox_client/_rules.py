"""The rules for names, payloads, keys and headers, as the Rust library has them. `../cases.json` has cases of both."""

import re

PAYLOAD_BYTES_MAX = 240 * 1024
KEY_BYTES_MAX = 512
HEADERS_BYTES_MAX = 8192
# Deeper JSON may exceed Postgres's stack.
DEPTH_MAX = 2000

_RESERVED_PREFIXES = ("outbox-", "connect-", "content-", "accept", "grpc-", "proxy-")
_RESERVED = frozenset(
    (
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
    )
)
_NO_CHARACTER = re.compile(r"u(?:0000|d[89a-f])")
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_ESCAPE = re.compile(r"\\(?:u[0-9a-f]{4}|.)")


def is_event_name(name: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9_]{0,127}", name) is not None


def header_problem(header: str, value: object) -> str | None:
    """The reason to refuse a header."""
    if re.fullmatch(r"[a-z][a-z0-9-]{0,63}", header) is None:
        return "is malformed: names are at most 64 lower-case letters, digits and dashes"
    if header in _RESERVED or header.startswith(_RESERVED_PREFIXES):
        return "is reserved: the call to the RPC sets it itself"
    if header.endswith("-bin"):
        return "is reserved: in gRPC the value of a name that ends in -bin is base64"
    if not isinstance(value, str) or re.fullmatch(r"[\x20-\x7e]*", value) is None:
        return "has a value that is not printable ASCII"
    return None


def payload_problem(payload: str) -> str | None:
    """The reason to refuse a payload that `json.dumps` wrote.

    It writes an escape for a code unit only where that stands for no character. An object has no key twice, and no number is
    beyond a double, because a message was written.
    """
    if not payload.startswith("{"):
        return "is not a JSON object"
    depth = 0
    for found in _TOKEN.finditer(payload):
        token = found[0]
        if token in "{[":
            depth += 1
            if depth > DEPTH_MAX:
                return "is nested too deep"
        elif token in "}]":
            depth -= 1
        elif "\\u" in token and any(_NO_CHARACTER.match(escape[1:]) for escape in _ESCAPE.findall(token)):
            return "has an escape that stands for no character: \\u0000, or half of a surrogate pair"
    return None
