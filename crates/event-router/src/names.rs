//! The names of rules and queues on AWS. Terraform derives the same names.
//!
//! A name is that of the RPC, with `-` for each dot and `--` for the slash. It is unique, because identifiers have no dashes. A
//! name that is too long is cut. It then ends in a dash and the first 8 hex digits of the whole name's SHA-256.

use sha2::{Digest, Sha256};

use crate::Rpc;

/// EventBridge allows 64 characters.
const RULE_CHARS_MAX: usize = 64;
/// Without the prefix.
const QUEUE_CHARS_MAX: usize = 64;
/// SQS allows 80, and the dead-letter queue's name has four more, `-dlq`.
const QUEUE_AND_PREFIX_CHARS_MAX: usize = 76;
/// The longest prefix: an RPC's own part has 35 characters left.
pub const PREFIX_CHARS_MAX: usize = 41;
const HASH_CHARS: usize = 8;

/// The queue of an RPC. The prefix tells installations apart; a long one shortens the RPC's part of the name.
pub fn queue(prefix: &str, rpc: &Rpc) -> String {
    let left = QUEUE_AND_PREFIX_CHARS_MAX - prefix.len().min(PREFIX_CHARS_MAX);
    format!("{prefix}{}", shortened(&dashed(rpc), left.min(QUEUE_CHARS_MAX)))
}

/// A prefix that leaves room for the names of queues.
///
/// # Errors
///
/// If it is too long, or has other characters than SQS allows.
pub fn prefix(text: &str) -> Result<String, String> {
    if text.len() > PREFIX_CHARS_MAX {
        return Err(format!("use at most {PREFIX_CHARS_MAX} characters: SQS allows a queue 80"));
    }
    if !text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
        return Err("use letters, digits, dashes and underscores: SQS allows nothing else".to_owned());
    }
    Ok(text.to_owned())
}

/// The rule that sends an event to an RPC's queue.
pub fn rule(event: &str, rpc: &Rpc) -> String {
    shortened(&format!("{event}--{}", dashed(rpc)), RULE_CHARS_MAX)
}

/// A hash of these texts in this order: sixteen hexadecimal digits.
pub fn digest<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        // No name has this character, so two different lists never join to the same text.
        digest.update(text);
        digest.update("\n");
    }
    hex(&digest.finalize()[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn dashed(rpc: &Rpc) -> String {
    rpc.as_str().replace('.', "-").replace('/', "--")
}

/// ASCII only, so bytes are characters.
fn shortened(name: &str, chars_max: usize) -> String {
    if name.len() <= chars_max {
        return name.to_owned();
    }
    let hash = hex(&Sha256::digest(name));
    format!("{}-{}", &name[..chars_max - HASH_CHARS - 1], &hash[..HASH_CHARS])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    #[derive(serde::Deserialize)]
    struct Named {
        event: String,
        rpc: String,
        rule: String,
        queue: String,
    }

    #[derive(serde::Deserialize)]
    struct Prefixed {
        name: String,
        rpc: String,
        queue: String,
    }

    /// Guards: Terraform and the binaries derive the same names; Terraform's tests read the same files.
    #[test]
    fn names_are_those_of_terraform() {
        let named: Vec<Named> = serde_json::from_str(include_str!("../testdata/names.json")).unwrap();
        assert!(named.len() > 10);
        for Named { event, rpc, rule: expected_rule, queue: expected_queue } in named {
            let rpc = Rpc::new(&rpc).unwrap();
            assert_eq!((rule(&event, &rpc), queue("", &rpc)), (expected_rule, expected_queue));
        }
        let named: Vec<Prefixed> = serde_json::from_str(include_str!("../testdata/long_names.json")).unwrap();
        assert!(named.len() > 10);
        for Prefixed { name, rpc, queue: expected } in named {
            assert_eq!(queue(&format!("{name}-"), &Rpc::new(&rpc).unwrap()), expected);
        }
    }

    /// Guards: AWS accepts the names; short ones are readable, and long ones differ by a hash.
    #[test]
    fn names_fit_and_differ() {
        let rpc = |id: &str| Rpc::new(id).unwrap();
        assert_eq!(
            queue("", &rpc("NotificationService/NotifyHogeUpdated")),
            "NotificationService--NotifyHogeUpdated"
        );
        assert_eq!(queue("", &rpc("acme.v1.AuditService/Record")), "acme-v1-AuditService--Record");
        assert_eq!(
            rule("event_hoge_updated", &rpc("NotificationService/NotifyHogeUpdated")),
            "event_hoge_updated--NotificationService--NotifyHogeUpdated"
        );
        assert_eq!(
            rule("event_card_transaction_settled", &rpc("AfterPayService/RecordCardTransaction")),
            "event_card_transaction_settled--AfterPayService--Record-b8e66965"
        );
        assert_ne!(queue("", &rpc("a.b.C/D")), queue("", &rpc("a_b.C/D")));
        let long = |end: &str| rpc(&format!("acme.v1.{}Service/{end}", "Very".repeat(15)));
        let (one, two) = (queue("", &long("One")), queue("", &long("Two")));
        assert_eq!((one.len(), two.len()), (64, 64));
        assert_ne!(one, two);
    }

    fn an_rpc() -> impl Strategy<Value = Rpc> {
        "([A-Za-z_][A-Za-z0-9_]{0,20}\\.){0,4}[A-Za-z_][A-Za-z0-9_]{0,40}/[A-Za-z_][A-Za-z0-9_]{0,60}"
            .prop_filter_map("at most 256 characters", |id| Rpc::new(&id))
    }

    /// Two RPCs that are hard to tell apart: they differ in one character, perhaps a separator, or at the end.
    fn two_rpcs() -> impl Strategy<Value = (Rpc, Rpc)> {
        (an_rpc(), any::<Index>(), "[._/aA0]{0,2}").prop_filter_map("both are RPCs", |(one, at, instead)| {
            let mut id = one.as_str().to_owned();
            let at = at.index(id.len());
            id.replace_range(at..=at, &instead);
            // If the slash was replaced, another separator becomes the slash.
            let id = if id.contains('/') { id } else { id.replacen('.', "/", 1) };
            let other = Rpc::new(&id).filter(|other| *other != one)?;
            Some((one, other))
        })
    }

    const EVENT: &str = "[a-z][a-z0-9_]{0,127}";

    fn is_name(name: &str) -> bool {
        (1..=64).contains(&name.len()) && name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    }

    proptest! {
        /// Guards: AWS accepts the names of rules and queues of any event and RPC.
        #[test]
        fn every_name_is_legal(event in EVENT, rpc in an_rpc(), prefix in "[a-z-]{0,41}") {
            prop_assert!(is_name(&queue("", &rpc)));
            let dead_letters = format!("{}-dlq", queue(&prefix, &rpc));
            prop_assert!(dead_letters.len() <= 80, "{}", dead_letters);
            prop_assert!(is_name(&rule(&event, &rpc)));
        }

        /// Guards: no two RPCs share a queue and no two routes share a rule, or one would take the other's messages.
        #[test]
        fn no_two_share_a_name(event in EVENT, other_event in EVENT, (one, other) in two_rpcs()) {
            prop_assert_ne!(queue("", &one), queue("", &other));
            let long = "x".repeat(PREFIX_CHARS_MAX);
            prop_assert_ne!(queue(&long, &one), queue(&long, &other));
            prop_assert_ne!(rule(&event, &one), rule(&event, &other));
            if event != other_event {
                prop_assert_ne!(rule(&event, &one), rule(&other_event, &one));
            }
        }

        /// Guards: a short name is readable and shows its RPC.
        #[test]
        fn a_short_name_is_the_rpc(rpc in an_rpc()) {
            let name = queue("", &rpc);
            if rpc.as_str().len() < QUEUE_CHARS_MAX {
                prop_assert_eq!(name.replace("--", "/").replace('-', "."), rpc.as_str());
            }
        }
    }
}
