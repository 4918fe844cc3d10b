//! Pure: how many connections a process has by default. More databases share fewer, because a server has 100 by default, and
//! its services need some of them.

/// Of a worker, to all of its databases.
pub fn worker_connections(databases: usize) -> usize {
    24_usize.saturating_sub(databases).clamp(10, 20)
}

/// Of a relay, beside the one to each database.
pub fn relay_connections(databases: usize) -> usize {
    20_usize.saturating_sub(databases).clamp(3, 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 7: a relay and a worker together have at most 40 connections to up to 27 databases, and few databases
    /// have as many as one.
    #[test]
    fn many_databases_share_fewer_connections() {
        for databases in 1..=27 {
            let together = databases + relay_connections(databases) + worker_connections(databases);
            assert!(together <= 40, "{databases} databases: {together}");
        }
        for (databases, expected) in
            [(1, (16, 20)), (4, (16, 20)), (10, (10, 14)), (25, (3, 10)), (1000, (3, 10))]
        {
            assert_eq!(
                (relay_connections(databases), worker_connections(databases)),
                expected,
                "{databases}"
            );
        }
    }
}
