//! What tells two routers apart: processes compare it, not the text of their files.

use crate::{Policy, Router, Rpc, names};

/// A hash of this length is enough to see that two policies differ.
const POLICY_DIGITS: usize = 8;

impl Router {
    /// A hash of all routes with their policies. Comments, the order of the file, and events without subscribers make no
    /// difference.
    pub fn digest(&self) -> String {
        let marks = self.marks();
        names::digest(marks.iter().map(String::as_str))
    }

    /// One text for each route, sorted: the event, the RPC's queue, and a hash of the policy and of the call's name.
    pub fn marks(&self) -> Vec<String> {
        let mark = |route: crate::Route<'_>| {
            let called = Some(route.called).filter(|called| *called != route.rpc);
            format!("{} {} {}", route.event, route.rpc, of_policy(route.policy, called))
        };
        let mut marks: Vec<String> = self.routes().map(mark).collect();
        marks.sort();
        marks
    }
}

/// Of the values, and not of their spelling in the file.
fn of_policy(policy: &Policy, called: Option<&Rpc>) -> String {
    let Policy { timeout, concurrency, rate_per_second, max_attempts, backoff } = policy;
    let rate = rate_per_second.unwrap_or_default();
    let (min, max) = (backoff.min.as_nanos(), backoff.max.as_nanos());
    let values = format!("{} {concurrency} {rate} {max_attempts} {min} {max}", timeout.as_nanos());
    let texts = std::iter::once(values.as_str()).chain(called.map(Rpc::as_str));
    names::digest(texts)[..POLICY_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(yaml: &str) -> Router {
        Router::parse("test.yaml", yaml).unwrap_or_else(|findings| panic!("{findings}"))
    }

    /// Guards promise 8: two files with the same routes and policies have one hash, and any other route or policy changes it.
    #[test]
    fn only_routes_and_policies_count() {
        let one = router("event:\n  - name: event_one\n    subscriber: [{ id: Test/One, timeout: 10s }]\n");
        let same = router(
            "# a comment\nevent:\n  - name: event_two\n    subscriber: []\n  - name: event_one\n    subscriber:\n      - id: 'Test/One'\n        timeout: 10000ms\n",
        );
        let slower =
            router("event:\n  - name: event_one\n    subscriber: [{ id: Test/One, timeout: 11s }]\n");
        let moved = router(
            "event:\n  - name: event_one\n    subscriber: [{ id: acme.v2.Test/One, queue: Test/One, timeout: 10s }]\n",
        );
        let more = router(
            "event:\n  - name: event_one\n    subscriber: [{ id: Test/One, timeout: 10s }, { id: Test/Two }]\n",
        );
        assert_eq!((one.digest(), one.marks()), (same.digest(), same.marks()));
        assert_eq!(one.digest().len(), 16);
        for other in [&slower, &more, &moved, &Router::default()] {
            assert_ne!(one.digest(), other.digest());
        }
        assert!(one.marks()[0].starts_with("event_one Test/One "), "{:?}", one.marks());
        assert!(more.marks().contains(&one.marks()[0]), "a route that both have has one text");
        assert!(!slower.marks().contains(&one.marks()[0]));
    }
}
