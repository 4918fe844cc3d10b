//! Pure: decides from the RPC's answer what becomes of the delivery, by the table in `codes.rs`.

use std::time::Duration;

use outbox_event_router::{Backoff, Policy};

use crate::codes::{Becomes, row};
use crate::rpc::CallError;
use outbox_transport::{Again, Outcome};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Attempt {
    /// Counted from 1.
    pub(crate) number: u32,
    /// Its queue will soon lose it, and a dead-letter queue would not.
    pub(crate) last_chance: bool,
}

impl Attempt {
    /// `age` is that of its message, in a queue that `keeps` messages so long.
    pub(crate) fn new(number: u32, age: Duration, keeps: Duration) -> Self {
        Self { number, last_chance: age >= keeps.mul_f64(0.75) }
    }
}

/// `random` is uniform in `0.0..1.0`.
pub(crate) fn decide(
    reply: &Result<(), CallError>,
    attempt: Attempt,
    policy: &Policy,
    random: f64,
) -> Outcome {
    let Err(error) = reply else { return Outcome::Done };
    let code = error.code.as_str();
    match row(error.code).becomes {
        Becomes::Done => Outcome::Done,
        Becomes::Dead => Outcome::Dead { code, reason: error.message.clone() },
        Becomes::Retried => {
            let not_before = error.retry_after.unwrap_or_default();
            again((code, &error.message), attempt, policy, not_before, random)
        }
    }
}

/// A refusal while the breaker holds the RPC. The wait is longer than after a first failure, because every receive may count.
pub(crate) fn held(error: &CallError, attempt: Attempt, policy: &Policy, random: f64) -> Outcome {
    const MORE: u32 = 3;
    let after = backoff(&policy.backoff, attempt.number.saturating_add(MORE), random);
    let after = after.max(error.retry_after.unwrap_or_default());
    let message = format!("held, as others were refused alike: {}", error.message);
    Outcome::retry(Again::Held, after, error.code.as_str(), &message)
}

/// The wait of a delivery that has failed, when others like it take all slots. If every receive counts, it is as long as after
/// a failure.
pub(crate) fn crowded_wait(attempt: u32, policy: &Policy, chooses: bool) -> Duration {
    let wait = backoff(&policy.backoff, attempt, 1.0);
    if chooses { wait.min(Duration::from_secs(1)) } else { wait }
}

/// A panic of the worker counts as an attempt, as if the server had failed.
pub(crate) fn panicked(attempt: Attempt, policy: &Policy, random: f64) -> Outcome {
    let error = "the worker panicked while it delivered this; its log says where";
    again(("worker_panic", error), attempt, policy, Duration::ZERO, random)
}

/// Another attempt, if one is left.
fn again(
    (code, error): (&'static str, &str),
    attempt: Attempt,
    policy: &Policy,
    not_before: Duration,
    random: f64,
) -> Outcome {
    if attempt.number >= policy.max_attempts {
        let reason = format!("gave up after {} attempts: {error}", attempt.number);
        return Outcome::Dead { code, reason };
    }
    if attempt.last_chance {
        let reason = format!("gave up, as its queue would soon forget it: {error}");
        return Outcome::Dead { code, reason };
    }
    let after = backoff(&policy.backoff, attempt.number, random).max(not_before);
    Outcome::retry(Again::Failed, after, code, error)
}

/// Decides before the call. A delivery may have been received too often without an answer, because its worker died each time.
/// It must not kill workers for ever. A few deaths may have other causes, and cost no delivery its call.
pub(crate) fn exhausted(attempt: u32, policy: &Policy) -> Option<Outcome> {
    const DEATHS_FORGIVEN: u32 = 3;
    (attempt > policy.max_attempts.saturating_add(DEATHS_FORGIVEN)).then(|| Outcome::Dead {
        code: "attempts_exhausted",
        reason: format!("begun {} times, the last without an answer: its workers died or hung", attempt - 1),
    })
}

/// Full jitter: anywhere between zero and the exponential ceiling, so that deliveries that failed together come back apart.
fn backoff(backoff: &Backoff, attempt: u32, random: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(30);
    let ceiling = backoff.min.saturating_mul(1 << doublings).min(backoff.max);
    ceiling.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rpc::{By, Code};

    fn reply(code: Code) -> Result<(), CallError> {
        Err(CallError { code, message: "why".into(), retry_after: None, by: By::Server })
    }

    fn attempt(number: u32) -> Attempt {
        Attempt { number, last_chance: false }
    }

    /// Guards promise 2 where queues lose old messages: a failure after three quarters of their time is dead-lettered. A last
    /// possible call is still made.
    #[test]
    fn a_queue_that_forgets_is_given_no_time_to() {
        let day = Duration::from_secs(24 * 3600);
        let policy = Policy::default();
        let at = |days: u32| Attempt::new(1, day * days, day * 4);
        assert!(matches!(decide(&reply(Code::Unavailable), at(2), &policy, 0.5), Outcome::Retry { .. }));
        assert!(matches!(
            decide(&reply(Code::Unavailable), at(3), &policy, 0.5),
            Outcome::Dead { code: "unavailable", .. }
        ));
        assert_eq!(decide(&Ok(()), at(3), &policy, 0.5), Outcome::Done);
        assert!(!Attempt::new(1, day * 1000, Duration::MAX).last_chance);
    }

    /// Guards: every code has exactly this row.
    #[test]
    fn each_code_has_its_outcome() {
        let policy = Policy::default();
        assert_eq!(decide(&Ok(()), attempt(1), &policy, 0.5), Outcome::Done);
        for code in Code::ALL {
            let first = decide(&reply(code), attempt(1), &policy, 0.5);
            let last = decide(&reply(code), attempt(policy.max_attempts), &policy, 0.5);
            match code {
                Code::AlreadyExists => assert_eq!((first, last), (Outcome::Done, Outcome::Done)),
                Code::InvalidArgument | Code::OutOfRange | Code::DataLoss => {
                    let dead = Outcome::Dead { code: code.as_str(), reason: "why".into() };
                    assert_eq!((first, last), (dead.clone(), dead));
                }
                _ => {
                    let after = Duration::from_millis(500);
                    assert_eq!(first, Outcome::retry(Again::Failed, after, code.as_str(), "why"));
                    let reason = "gave up after 20 attempts: why".into();
                    assert_eq!(last, Outcome::Dead { code: code.as_str(), reason });
                }
            }
        }
    }

    /// Guards: backoff grows, is spread over the whole range, and is bounded whatever the attempt.
    #[test]
    fn backoff_is_exponential_jittered_and_bounded() {
        let range = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(60) };
        let at = |attempt, random| backoff(&range, attempt, random).as_secs_f64();
        assert_eq!([at(1, 1.0), at(2, 1.0), at(3, 1.0), at(6, 1.0), at(7, 1.0)], [1.0, 2.0, 4.0, 32.0, 60.0]);
        assert_eq!([at(3, 0.0), at(3, 0.5)], [0.0, 2.0]);
        assert_eq!(at(u32::MAX, 1.0), 60.0);
    }

    /// Guards: an RPC is not called earlier than its server asked for.
    #[test]
    fn retry_after_wins_over_a_shorter_backoff() {
        let asked = Err(CallError {
            code: Code::Unavailable,
            message: String::new(),
            retry_after: Some(Duration::from_secs(42)),
            by: By::Server,
        });
        let Outcome::Retry { after, .. } = decide(&asked, attempt(1), &Policy::default(), 0.9) else {
            panic!()
        };
        assert_eq!(after, Duration::from_secs(42));
    }

    /// Guards promises 2 and 7: a delivery that panics its worker is retried like a failure, and is dead after the last
    /// attempt.
    #[test]
    fn a_panic_is_an_attempt() {
        let policy = Policy::default();
        let of = |number| panicked(attempt(number), &policy, 0.5);
        let after = Duration::from_millis(500);
        assert!(
            matches!(of(1), Outcome::Retry { again: Again::Failed, after: waits, code: "worker_panic", .. } if waits == after)
        );
        assert!(matches!(of(policy.max_attempts), Outcome::Dead { code: "worker_panic", .. }));
    }

    /// Guards: a message that kills its worker ends in the dead-letter queue too.
    #[test]
    fn a_message_that_is_never_settled_is_dead_at_last() {
        let policy = Policy::default();
        assert_eq!(exhausted(policy.max_attempts + 3, &policy), None);
        assert!(matches!(
            exhausted(policy.max_attempts + 4, &policy),
            Some(Outcome::Dead { code: "attempts_exhausted", .. })
        ));
    }

    fn a_policy() -> impl Strategy<Value = Policy> {
        let backoff = (1_u64..43_200_000, 1_u64..43_200_000).prop_map(|(one, other)| Backoff {
            min: Duration::from_millis(one.min(other)),
            max: Duration::from_millis(one.max(other)),
        });
        (1..=Policy::MAX_ATTEMPTS_MAX, backoff).prop_map(|(max_attempts, backoff)| Policy {
            max_attempts,
            backoff,
            ..Policy::default()
        })
    }

    fn a_reply() -> impl Strategy<Value = Result<(), CallError>> {
        let error = (prop::sample::select(Code::ALL.to_vec()), prop::option::of(0_u64..43_200))
            .prop_map(|(code, seconds)| (code, seconds.map(Duration::from_secs)));
        prop::option::of(error).prop_map(|error| match error {
            None => Ok(()),
            Some((code, retry_after)) => {
                Err(CallError { code, message: "why".into(), retry_after, by: By::Server })
            }
        })
    }

    fn a_number() -> impl Strategy<Value = u32> {
        prop_oneof![1..2 * Policy::MAX_ATTEMPTS_MAX, 1..=u32::MAX]
    }

    proptest! {
        /// Guards promises 2 and 7: every answer at every attempt has an outcome. A wait is at most the policy's, and at least
        /// what the server asked for. After the last attempt nothing waits.
        #[test]
        fn every_answer_has_its_outcome(
            reply in a_reply(),
            number in a_number(),
            last_chance in any::<bool>(),
            policy in a_policy(),
            random in 0.0..=1.0,
        ) {
            match (decide(&reply, Attempt { number, last_chance }, &policy, random), &reply) {
                (Outcome::Done, Ok(())) => {}
                (Outcome::Done, Err(error)) => prop_assert_eq!(error.code, Code::AlreadyExists),
                (Outcome::Retry { again: Again::Failed, after, .. }, Err(error)) => {
                    prop_assert!(number < policy.max_attempts && !last_chance);
                    let asked = error.retry_after.unwrap_or_default();
                    prop_assert!((asked..=policy.backoff.max.max(asked)).contains(&after));
                }
                (Outcome::Dead { code, .. }, Err(error)) => prop_assert_eq!(code, error.code.as_str()),
                (outcome, Err(_)) => prop_assert!(false, "only the breaker holds: {:?}", outcome),
                (outcome, Ok(())) => prop_assert!(false, "a success is {:?}", outcome),
            }
        }

        /// Guards promise 7: deliveries are exhausted at any number of attempts, even at the largest.
        #[test]
        fn every_delivery_is_exhausted_in_the_end(
            number in a_number(),
            max_attempts in a_number(),
            age in any::<Duration>(),
            keeps in any::<Duration>(),
        ) {
            let policy = Policy { max_attempts, ..Policy::default() };
            let begun_too_often = number > max_attempts.saturating_add(3);
            prop_assert_eq!(exhausted(number, &policy).is_some(), begun_too_often);
            let attempt = Attempt::new(number, age, keeps);
            prop_assert!(attempt.last_chance || age < keeps);
        }
    }
}
