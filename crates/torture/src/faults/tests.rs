use std::collections::HashSet;

use super::*;

/// Guards: a seed determines the faults, none outlasts the run, and every kind of fault happens.
#[test]
fn a_plan_is_its_seeds() {
    for transport in [Transport::Postgres, Transport::Aws] {
        let length = Duration::from_secs(150);
        let first = plan(7, length, transport);
        assert_eq!(first, plan(7, length, transport));
        assert_ne!(first, plan(8, length, transport));
        assert!(first.iter().all(|one| one.at + one.lasts <= length));
        let kinds: HashSet<Fault> = first.iter().map(|one| one.fault).collect();
        let more = if transport == Transport::Aws { &ON_AWS[..] } else { &ON_POSTGRES[..] };
        assert!(EVERYWHERE.iter().chain(more).all(|fault| kinds.contains(fault)), "{kinds:?}");
        let crashes = first.iter().filter(|one| one.fault == Fault::PostgresCrashed).count();
        assert!((4..=8).contains(&crashes), "{crashes} crashes");
    }
}

/// Guards: no fault keeps the standby from taking over while the leader is stopped.
#[test]
fn a_standby_is_left_alone_while_the_leader_is_stopped() {
    for seed in 0..50 {
        let plan = plan(seed, Duration::from_secs(120), Transport::Postgres);
        for pause in plan.iter().filter(|one| one.fault == Fault::LeaderPaused) {
            let until = pause.at + pause.lasts;
            let met = plan.iter().find(|one| {
                (one.fault.meets_a_relay() || one.fault == Fault::PostgresCrashed)
                    && one.at + one.lasts > pause.at
                    && one.at < until
            });
            assert_eq!(met, None, "seed {seed}");
        }
    }
}
