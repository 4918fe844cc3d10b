//! What rules and queues are called on AWS. The same rule stands in Terraform.
//!
//! A name is that of the RPC with `-` for each dot and `--` for the slash, which no two RPCs share: identifiers have no
//! dashes. One that is too long is cut and ends in a dash and the first 8 hex digits of the SHA-256 of the whole.

use sha2::{Digest, Sha256};

use crate::Rpc;

/// EventBridge allows 64 characters.
const RULE_CHARS_MAX: usize = 64;
/// SQS allows 80; the rest is for a prefix and for the dead-letter queue's `-dlq`.
const QUEUE_CHARS_MAX: usize = 64;
const HASH_CHARS: usize = 8;

/// The queue of an RPC, without the prefix that tells one installation from another.
pub fn queue(rpc: &Rpc) -> String {
    shortened(&dashed(rpc), QUEUE_CHARS_MAX)
}

/// The rule that sends an event to an RPC's queue.
pub fn rule(event: &str, rpc: &Rpc) -> String {
    shortened(&format!("{event}--{}", dashed(rpc)), RULE_CHARS_MAX)
}

fn dashed(rpc: &Rpc) -> String {
    rpc.as_str().replace('.', "-").replace('/', "--")
}

/// ASCII only, so bytes are characters.
fn shortened(name: &str, chars_max: usize) -> String {
    if name.len() <= chars_max {
        return name.to_owned();
    }
    let hash: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}", &name[..chars_max - HASH_CHARS - 1], &hash[..HASH_CHARS])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Named {
        event: String,
        rpc: String,
        rule: String,
        queue: String,
    }

    /// Guards: Terraform and the binaries mean the same rules and queues: its tests read this file, too.
    #[test]
    fn names_are_those_of_terraform() {
        let named: Vec<Named> =
            serde_json::from_str(include_str!("../../../infra/tests/names.json")).unwrap();
        assert!(named.len() > 10);
        for Named { event, rpc, rule: expected_rule, queue: expected_queue } in named {
            let rpc = Rpc::new(&rpc).unwrap();
            assert_eq!((rule(&event, &rpc), queue(&rpc)), (expected_rule, expected_queue));
        }
    }

    /// Guards: names are what AWS allows, short ones readable, long ones told apart by a hash.
    #[test]
    fn names_fit_and_differ() {
        let rpc = |id: &str| Rpc::new(id).unwrap();
        assert_eq!(
            queue(&rpc("NotificationService/NotifyHogeUpdated")),
            "NotificationService--NotifyHogeUpdated"
        );
        assert_eq!(queue(&rpc("acme.v1.AuditService/Record")), "acme-v1-AuditService--Record");
        assert_eq!(
            rule("event_hoge_updated", &rpc("NotificationService/NotifyHogeUpdated")),
            "event_hoge_updated--NotificationService--NotifyHogeUpdated"
        );
        assert_eq!(
            rule("event_card_transaction_settled", &rpc("AfterPayService/RecordCardTransaction")),
            "event_card_transaction_settled--AfterPayService--Record-b8e66965"
        );
        assert_ne!(queue(&rpc("a.b.C/D")), queue(&rpc("a_b.C/D")));
        let long = |end: &str| rpc(&format!("acme.v1.{}Service/{end}", "Very".repeat(15)));
        let (one, two) = (queue(&long("One")), queue(&long("Two")));
        assert_eq!((one.len(), two.len()), (64, 64));
        assert_ne!(one, two);
    }
}
