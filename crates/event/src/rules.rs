//! The rules for names, keys and headers of events. The library applies them before it sends SQL. The relay parks rows that
//! break them. The same rules stand in SQL (`outbox.check_entry`) for publishers in other languages. A test compares both.

pub const NAME_BYTES_MAX: usize = 128;
pub const KEY_BYTES_MAX: usize = 512;
pub const HEADERS_BYTES_MAX: usize = 8192;

/// lower_snake_case of at most 128 characters.
pub fn is_event_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

/// The reason to refuse a header.
pub fn header_problem(header: &str, value: &str) -> Option<&'static str> {
    const TAKEN_PREFIXES: [&str; 6] = ["outbox-", "connect-", "content-", "accept", "grpc-", "proxy-"];
    const TAKEN: [&str; 11] = [
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
    ];
    let well_formed = header.len() <= 64
        && header.starts_with(|c: char| c.is_ascii_lowercase())
        && header.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !well_formed {
        Some("is malformed: names are at most 64 lower-case letters, digits and dashes")
    } else if TAKEN.contains(&header) || TAKEN_PREFIXES.iter().any(|prefix| header.starts_with(prefix)) {
        Some("is reserved: the call to the RPC sets it itself")
    } else if header.ends_with("-bin") {
        Some("is reserved: in gRPC the value of a name that ends in -bin is base64")
    } else if !value.bytes().all(|b| (0x20..=0x7e).contains(&b)) {
        Some("has a value that is not printable ASCII")
    } else {
        None
    }
}
