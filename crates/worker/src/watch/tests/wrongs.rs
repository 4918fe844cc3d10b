//! What is wrong at one queue, on simulated time.

use std::time::Duration;

use super::super::simulation::{Flaw, Fleet, Wrong};
use super::{Said, Two, entry, seconds};

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

/// Guards promise 2: another worker receives within 30 s, whatever is wrong between the watcher and its queue. So it does among
/// many workers, and while another queue is full: then each worker writes that to the roster, and writes no sooner again.
#[tokio::test]
async fn what_is_wrong_at_one_queue_is_taken_over() {
    let all = [Wrong::CutOff, Wrong::Hangs, Wrong::CallsFail];
    for (workers, wrongs, seeds, load) in
        [(10, &all[..], 10, 0), (100, &all[1..2], 2, 0), (100, &all[1..2], 3, 2500)]
    {
        for wrong in wrongs.iter().copied() {
            for seed in 0..seeds {
                let of = format!("{wrong:?}, {workers} workers, seed {seed}");
                let mut fleet = Fleet::new(3, seed, Flaw::None);
                for _ in 0..workers {
                    fleet.join(0..3);
                }
                fleet.run(seconds(60 + seed)).unwrap();
                let watcher = fleet.watchers(1)[0];
                for nth in 0..60 {
                    if nth == 10 {
                        fleet.goes(watcher, 1, Some(wrong));
                    }
                    fleet.send(1, 1);
                    fleet.send(2, load);
                    fleet.run(seconds(2)).unwrap_or_else(|left| panic!("{of}: {left}"));
                }
                assert!(load > 0 || fleet.longest_wait <= seconds(30), "{of}: {:?}", fleet.longest_wait);
            }
        }
    }
}

/// Guards: after an outage of its server a quiet queue has one watcher again, though most workers have no message to call
/// with.
#[tokio::test]
async fn a_failed_call_is_forgotten() {
    for seed in 0..3 {
        let mut fleet = Fleet::new(3, seed, Flaw::None);
        for _ in 0..10 {
            fleet.join(0..3);
        }
        fleet.run(seconds(60)).unwrap();
        let all = fleet.living();
        all.iter().for_each(|worker| fleet.goes(*worker, 1, Some(Wrong::CallsFail)));
        fleet.send(1, 5);
        fleet.run(seconds(120)).unwrap();
        assert_eq!(fleet.watchers(1).len(), 10, "seed {seed}: all calls fail");
        all.iter().for_each(|worker| fleet.goes(*worker, 1, None));
        fleet.run(seconds(360)).unwrap();
        assert_eq!(fleet.watchers(1).len(), 1, "seed {seed}");
    }
}

/// Guards promise 2: among many workers under load a queue that is left alone is written within a second. Guards: if all of
/// them have such queues, writes do not multiply.
#[tokio::test]
async fn a_queue_that_is_left_alone_does_not_wait_for_full_ones() {
    for others_away in [0, 99] {
        let (mut two, mut written, mut shown, mut latest) = (Two::new(), Vec::new(), 0, 0);
        for tick in 0..3000 {
            if tick % 50 == 0 {
                let away = |nth| (nth < others_away).then_some(0).into_iter().collect();
                let of = |nth| (format!("other {nth}"), outbox_aws::Entry { away: away(nth), ..entry(tick) });
                two.member.has_read((0..99).map(of).collect(), two.start + seconds(tick / 10));
            }
            let (away, since) = ((tick / 137 % 8) as usize, tick / 137 * 137);
            for (queue, said) in two.said.iter_mut().enumerate() {
                *said = Said { full: queue as u64 == tick % 8, away: queue == away };
            }
            let entry = two.member.writes(&two.said, two.start + Duration::from_millis(100 * tick));
            // The first reads show who lives.
            if entry.is_some() && tick > 300 {
                written.push(tick);
            }
            if entry.is_some_and(|entry| entry.away.contains(&away)) {
                shown = tick;
            }
            if shown < since && tick > 300 {
                latest = latest.max(tick - since);
            }
        }
        let least = written.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap();
        let is_right = if others_away == 0 { latest <= 10 } else { least >= 90 };
        assert!(is_right, "{others_away} others: {latest} at the latest, {least} of {written:?}");
    }
}
