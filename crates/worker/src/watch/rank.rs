//! Rendezvous hashing: each queue has its own order of the workers, which every worker computes alike. When a worker leaves,
//! only its queues move.

/// FNV-1a. It must be the same in every build and version, and the standard library's hash is not.
pub(super) fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// The worker with the highest score is first in the order of the queue.
pub(super) fn score(worker: u64, queue: u64) -> u64 {
    mix(mix(worker) ^ mix(queue).rotate_left(32))
}

/// The last step of SplitMix64, after which each bit depends on every bit.
fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(workers: &[String], queue: &str) -> usize {
        let score = |at: &usize| score(hash(&workers[*at]), hash(queue));
        (0..workers.len()).max_by_key(score).unwrap()
    }

    /// Guards promise 2: two versions of the worker compute the same order.
    #[test]
    fn ranks_are_the_same_in_every_version() {
        assert_eq!(hash(""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash("a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(score(hash("worker"), hash("queue")), 0x1571_c891_6a71_3ed0);
    }

    /// Guards: 300 queues are spread over the workers. If a worker leaves, no queue of another one moves.
    #[test]
    fn queues_are_spread_and_stay() {
        for many in [10, 100] {
            let workers: Vec<String> = (0..many).map(|n| format!("worker-{n}")).collect();
            let queues: Vec<String> = (0..300).map(|n| format!("outbox-Test--Rpc{n}")).collect();
            let mut watched = vec![0; many];
            for queue in &queues {
                let before = first(&workers, queue);
                watched[before] += 1;
                if before != many - 1 {
                    assert_eq!(first(&workers[..many - 1], queue), before);
                }
            }
            let most = watched.iter().max().unwrap();
            assert!(*most <= 300 / many + 4 * (300_f64 / many as f64).sqrt() as usize, "{watched:?}");
        }
    }
}
