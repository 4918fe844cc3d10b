//! What is wrong at one queue, on simulated time.

use super::super::simulation::{Flaw, Fleet, Wrong};
use super::seconds;

/// Guards: a message that no worker has received counts with the time that it has waited so far.
#[tokio::test]
async fn a_message_that_still_waits_counts() {
    let mut fleet = Fleet::new(1, 7, Flaw::None);
    fleet.join(0..1);
    fleet.run(seconds(40)).unwrap();
    fleet.kill(0);
    fleet.send(0, 1);
    fleet.run(seconds(60)).unwrap();
    assert_eq!(fleet.longest_wait, seconds(60));
}

/// Guards promise 2: another worker receives within 30 s, whatever is wrong between the watcher and its queue.
#[tokio::test]
async fn what_is_wrong_at_one_queue_is_taken_over() {
    for wrong in [Wrong::CutOff, Wrong::Hangs, Wrong::CallsFail] {
        for seed in 0..10 {
            let mut fleet = Fleet::new(3, seed, Flaw::None);
            for _ in 0..10 {
                fleet.join(0..3);
            }
            fleet.run(seconds(60 + seed)).unwrap();
            let watcher = fleet.watchers(1)[0];
            fleet.goes(watcher, 1, Some(wrong));
            for _ in 0..60 {
                fleet.send(1, 1);
                fleet.run(seconds(2)).unwrap_or_else(|left| panic!("{wrong:?}, seed {seed}: {left}"));
            }
            let longest = fleet.longest_wait;
            assert!(longest <= seconds(30), "{wrong:?}, seed {seed}: {longest:?}");
        }
    }
}
