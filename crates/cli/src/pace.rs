//! Limits the rate of a repair, and shows its progress.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::Duration;

use outbox_transport::operate::thousands;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::show::age;

const SAY_EVERY: Duration = Duration::from_secs(5);
/// The first line comes sooner: after a second it is worth knowing how long it takes.
const SAY_FIRST: Duration = Duration::from_secs(1);
const DRAW_EVERY: Duration = Duration::from_millis(200);
/// The rate is of so long: before, it may have been another one.
const RATE_OF: Duration = Duration::from_secs(30);

/// Ends at the first SIGINT or SIGTERM. Once polled, it also sees every later one.
pub(crate) async fn interrupted() {
    match signal(SignalKind::terminate()) {
        Ok(mut terminate) => {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
        }
        Err(_) => {
            let _ = tokio::signal::ctrl_c().await;
        }
    }
}

/// Lets so many through per second, evenly, because a service that has just come back must not be overloaded.
#[derive(Debug)]
pub(crate) struct Pace {
    gap: Duration,
    next: Instant,
}

impl Pace {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { gap: Duration::from_secs(1) / per_second.max(1), next: Instant::now() }
    }

    /// From now on so many go per second. None: as many as before.
    pub(crate) fn keep(&mut self, per_second: Option<u32>) {
        let gap = per_second.map_or(self.gap, |per_second| Duration::from_secs(1) / per_second.max(1));
        if gap != self.gap {
            self.gap = gap;
            // A faster rate does not wait for what was moved at a slower one.
            self.next = self.next.min(Instant::now() + gap);
        }
    }

    /// Waits until `many` more may go. Missed time is not made up for.
    pub(crate) async fn wait(&mut self, many: usize) {
        tokio::time::sleep_until(self.next).await;
        let many = u32::try_from(many).unwrap_or(u32::MAX);
        self.next = self.next.max(Instant::now()) + self.gap * many;
    }
}

/// Shows progress on standard error: in place on a terminal, every few seconds elsewhere.
#[derive(Debug)]
pub(crate) struct Progress {
    verb: &'static str,
    done: i64,
    total: Option<i64>,
    began: Instant,
    said: Option<Instant>,
    /// What was done by when. The first is as old as the rate, or older.
    marks: VecDeque<(Instant, i64)>,
    terminal: bool,
}

impl Progress {
    pub(crate) fn new(verb: &'static str, total: Option<i64>) -> Self {
        let (terminal, began) = (std::io::stderr().is_terminal(), Instant::now());
        Self { verb, done: 0, total, began, said: None, marks: VecDeque::from([(began, 0)]), terminal }
    }

    /// The rate leaves out the time of a pause.
    pub(crate) fn was_held(&mut self) {
        let now = Instant::now();
        self.marks = VecDeque::from([(now, self.done)]);
        // Until the next line it has a rate again.
        self.said = Some(now);
    }

    /// So many more are counted.
    pub(crate) fn more(&mut self, counted: i64) {
        self.total = Some(self.total.unwrap_or(0) + counted);
    }

    pub(crate) fn add(&mut self, many: usize) {
        self.done += i64::try_from(many).unwrap_or(0);
        let every = match self.said {
            _ if self.terminal => DRAW_EVERY,
            None => SAY_FIRST,
            Some(_) => SAY_EVERY,
        };
        if self.said.unwrap_or(self.began).elapsed() >= every {
            self.said = Some(Instant::now());
            let of = self
                .total
                .map(|total| format!(" of {}", thousands(total.max(self.done))))
                .unwrap_or_default();
            let left = self.total.map(|total| total - self.done);
            let (many, lately) = recent(&mut self.marks, Instant::now(), self.done);
            let seconds = self.began.elapsed().as_secs_f64();
            let pace = pace(many, lately.as_secs_f64(), left);
            let text = format!("{} {}{of} in {}{pace}", self.verb, thousands(self.done), age(seconds));
            if self.terminal {
                let _ = write!(std::io::stderr(), "\r\u{1b}[K{text}");
            } else {
                crate::terminal::say(&text);
            }
        }
    }
}

/// Pure: how many were done lately, and in which time. Forgets older marks, but the last of them.
fn recent(marks: &mut VecDeque<(Instant, i64)>, now: Instant, done: i64) -> (i64, Duration) {
    while marks.get(1).is_some_and(|(at, _)| now - *at >= RATE_OF) {
        marks.pop_front();
    }
    let (since, before) = marks.front().copied().unwrap_or((now, done));
    marks.push_back((now, done));
    (done - before, now - since)
}

/// Pure: `, 49/s, 1m 28s left`. The time left is not known without a total.
fn pace(many: i64, seconds: f64, left: Option<i64>) -> String {
    if seconds <= 0.0 || many <= 0 {
        return String::new();
    }
    let rate = many as f64 / seconds;
    let digits = usize::from(rate < 10.0);
    let left = match left {
        Some(left) if left > 0 => format!(", {} left", age(left as f64 / rate)),
        _ => String::new(),
    };
    format!(", {rate:.digits$}/s{left}")
}

/// Clears what was drawn in place.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal && self.said.is_some() {
            clear();
        }
    }
}

/// On a line of its own, where progress may be drawn.
pub(crate) fn say(text: &str) {
    if std::io::stderr().is_terminal() {
        clear();
    }
    crate::terminal::say(text);
}

fn clear() {
    let _ = write!(std::io::stderr(), "\r\u{1b}[K");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: progress has the rate and the time left, as far as they are known.
    #[test]
    fn progress_has_the_time_left() {
        for (many, seconds, left, said) in [
            (748, 15.0, Some(4350), ", 50/s, 1m 27s left"),
            (748, 15.0, None, ", 50/s"),
            (7, 14.0, Some(63), ", 0.5/s, 2m 6s left"),
            (70, 14.0, Some(0), ", 5.0/s"),
            (71, 14.2, Some(-1), ", 5.0/s"),
            (0, 3.0, Some(70), ""),
            (5, 0.0, Some(65), ""),
        ] {
            assert_eq!(pace(many, seconds, left), said, "{many} in {seconds}, {left:?} left");
        }
    }

    /// Guards promise 8: the rate is that of the last half minute, or of the last step, where that took longer.
    #[test]
    fn the_rate_is_a_recent_one() {
        let began = Instant::now();
        let mut marks = VecDeque::from([(began, 0)]);
        for (seconds, done, many, lately) in [
            (1, 100, 100, 1),
            (20, 2000, 2000, 20),
            (35, 2015, 1915, 34),
            (51, 2031, 31, 31),
            (60, 2040, 40, 40),
            (200, 2180, 140, 140),
        ] {
            let now = began + Duration::from_secs(seconds);
            let expected = (many, Duration::from_secs(lately));
            assert_eq!(recent(&mut marks, now, done), expected, "after {seconds} s");
        }
    }

    /// Guards promise 8: another rate is kept from the next messages on, without a burst, and an old one is not waited for.
    #[tokio::test(start_paused = true)]
    async fn another_rate_is_kept() {
        let mut pace = Pace::new(1);
        pace.wait(8).await;
        let began = Instant::now();
        pace.keep(Some(100));
        for _ in 0..50 {
            pace.wait(2).await;
        }
        assert!((0.95..=1.05).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
        pace.keep(None);
        pace.keep(Some(10));
        let began = Instant::now();
        for _ in 0..5 {
            pace.wait(2).await;
        }
        assert!((0.7..=1.05).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
    }

    /// Guards: the rate is kept from the first message on, without a burst after a pause.
    #[tokio::test(start_paused = true)]
    async fn the_rate_is_kept() {
        let (began, mut pace) = (Instant::now(), Pace::new(100));
        for _ in 0..50 {
            pace.wait(2).await;
        }
        assert!((0.97..=1.01).contains(&began.elapsed().as_secs_f64()), "{:?}", began.elapsed());
        tokio::time::sleep(Duration::from_secs(10)).await;
        let after = Instant::now();
        for _ in 0..50 {
            pace.wait(2).await;
        }
        assert!(after.elapsed().as_secs_f64() > 0.95, "{:?}", after.elapsed());
    }
}
