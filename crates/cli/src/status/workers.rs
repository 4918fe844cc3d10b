//! Breakers and calls under way, from the /metrics of workers that were named. They are as of now, while the workers' rows are
//! some seconds old.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use futures_util::future::join_all;
use outbox_transport::process;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::stopped::Stopped;

const HERE: &str = "http://127.0.0.1:9465";
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Whether workers receive for an RPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Breaker {
    Closed,
    /// One call shows whether its server is back.
    HalfOpen,
    /// Its server is away, or different events fail in a row: deliveries that have failed wait.
    Open,
    /// Different events are refused alike: nothing is dead-lettered.
    Held,
}

/// The workers to ask, and their answers.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    asked: Vec<Url>,
    /// If none is named, a worker that may run on this machine is asked.
    named: bool,
    samples: Vec<Sample>,
    pub(crate) silent: Vec<String>,
}

/// `http://HOST:PORT`
#[derive(Debug, Clone)]
struct Url {
    text: String,
    authority: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Sample {
    /// The number of the worker that showed it.
    worker: usize,
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Workers {
    pub(crate) fn parse(urls: &[String]) -> Result<Self, Stopped> {
        let named: Vec<Url> =
            urls.iter().filter(|url| !url.is_empty()).map(|url| url.parse()).collect::<Result<_, _>>()?;
        if named.is_empty() {
            return Ok(Self { asked: vec![HERE.parse()?], ..Self::default() });
        }
        Ok(Self { asked: named, named: true, ..Self::default() })
    }

    pub(crate) async fn ask(mut self) -> Self {
        let answers =
            join_all(self.asked.iter().map(|url| tokio::time::timeout(ANSWER_WITHIN, url.metrics()))).await;
        for (worker, (url, answer)) in self.asked.iter().zip(answers).enumerate() {
            match answer {
                Ok(Ok(text)) => self.samples.extend(samples(worker, &text)),
                Ok(Err(error)) if self.named => self.silent.push(format!("{}: {error}", url.text)),
                Err(_) if self.named => self.silent.push(format!("{}: no answer", url.text)),
                _ => {}
            }
        }
        self
    }

    /// The age of the oldest message that workers received lately, because SQS does not give it. Only a worker that watches the
    /// queue measures it; the others show zero.
    pub(crate) fn oldest_seconds(&self, source: &str, rpc: &str) -> Option<f64> {
        let duties = || self.samples(source, rpc, "outbox_worker_duty");
        let watches = |worker| duties().all(|duty| duty.worker != worker || duty.value == 2.0);
        self.samples(source, rpc, "outbox_worker_queue_oldest_seconds")
            .filter(|sample| watches(sample.worker))
            .map(|sample| sample.value)
            .reduce(f64::max)
    }

    /// How many deliveries are set aside, by the code of the refusal.
    pub(crate) fn set_aside(&self, source: &str, rpc: &str) -> BTreeMap<String, i64> {
        let mut counts = BTreeMap::new();
        for sample in self.samples(source, rpc, "outbox_worker_set_aside").filter(|sample| sample.value > 0.0)
        {
            let code = sample.labels.get("code").cloned().unwrap_or_default();
            *counts.entry(code).or_default() += sample.value as i64;
        }
        counts
    }

    fn samples<'a>(
        &'a self,
        source: &'a str,
        rpc: &'a str,
        name: &'a str,
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            sample.name == name
                && sample.labels.get("rpc").is_some_and(|label| label == rpc)
                && sample.labels.get("source").is_none_or(|label| label == source)
        })
    }

    /// The reasons of a hold, by all workers.
    pub(crate) fn held(&self, source: &str, rpc: &str) -> Vec<String> {
        let held = self.samples(source, rpc, "outbox_worker_held").filter(|sample| sample.value > 0.0);
        let word = |sample: &Sample, name: &str| sample.labels.get(name).cloned().unwrap_or_default();
        let mut reasons: Vec<String> =
            held.map(|sample| format!("{}: {}", word(sample, "code"), word(sample, "reason"))).collect();
        reasons.sort();
        reasons.dedup();
        reasons
    }

    /// The worst of the breakers, and all calls under way, of the workers that answered.
    pub(crate) fn of(&self, source: &str, rpc: &str) -> (Option<Breaker>, Option<i64>) {
        let breaker = self.samples(source, rpc, "outbox_worker_breaker_state").map(|sample| {
            match sample.value as i64 {
                0 => Breaker::Closed,
                1 => Breaker::HalfOpen,
                2 => Breaker::Open,
                _ => Breaker::Held,
            }
        });
        let calls: Vec<f64> =
            self.samples(source, rpc, "outbox_worker_in_flight").map(|sample| sample.value).collect();
        (breaker.max(), (!calls.is_empty()).then(|| calls.iter().sum::<f64>() as i64))
    }
}

impl From<process::Breaker> for Breaker {
    fn from(said: process::Breaker) -> Self {
        match said {
            process::Breaker::Closed => Self::Closed,
            process::Breaker::Doubted | process::Breaker::Away => Self::Open,
            process::Breaker::Held => Self::Held,
        }
    }
}

impl Breaker {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::HalfOpen => "half-open",
            Self::Open => "open",
            Self::Held => "held",
        }
    }
}

impl FromStr for Url {
    type Err = Stopped;

    fn from_str(text: &str) -> Result<Self, Stopped> {
        let refused = || {
            Stopped::unusable(
                format!("`{text}` is no worker's address"),
                "write http://HOST:PORT, where the worker serves /metrics (its --metrics-addr)",
            )
        };
        let authority = text.strip_prefix("http://").ok_or_else(refused)?;
        let authority = authority.trim_end_matches("/metrics").trim_end_matches('/');
        let port =
            authority.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        if authority.contains(['/', '@', '?']) || port.is_none_or(|(host, _)| host.is_empty()) {
            return Err(refused());
        }
        Ok(Self { text: text.to_owned(), authority: authority.to_owned() })
    }
}

impl Url {
    /// HTTP/1.0: its answer ends with the connection and comes in one piece.
    async fn metrics(&self) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(&self.authority).await?;
        let request = format!("GET /metrics HTTP/1.0\r\nHost: {}\r\n\r\n", self.authority);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer).await?;
        let (head, body) =
            answer.split_once("\r\n\r\n").ok_or_else(|| std::io::Error::other("it answers no HTTP"))?;
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status != "200" {
            return Err(std::io::Error::other(format!("it answers HTTP {status}")));
        }
        Ok(body.to_owned())
    }
}

fn samples(worker: usize, text: &str) -> impl Iterator<Item = Sample> {
    text.lines().filter_map(move |line| sample(worker, line))
}

/// `name{label="value",…} value`, in Prometheus's text format.
fn sample(worker: usize, line: &str) -> Option<Sample> {
    if line.starts_with('#') {
        return None;
    }
    let Some((name, rest)) = line.split_once('{') else {
        let (name, value) = line.split_once(' ')?;
        return Some(Sample {
            worker,
            name: name.to_owned(),
            labels: BTreeMap::new(),
            value: number(value)?,
        });
    };
    let (mut labels, mut rest) = (BTreeMap::new(), rest);
    while let Some((label, after)) = rest.split_once("=\"") {
        if label.contains('}') {
            break;
        }
        let (value, after) = unquoted(after)?;
        labels.insert(label.trim_start_matches(',').trim().to_owned(), value);
        rest = after;
    }
    Some(Sample { worker, name: name.to_owned(), labels, value: number(rest.split_once('}')?.1)? })
}

/// A label's value up to its closing quote, and what comes after.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            _ => value.push(c),
        }
    }
    None
}

fn number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: Prometheus's format is read with any label. Several workers are summed up, the worst breaker counts, and another
    /// source is ignored.
    #[test]
    fn metrics_are_read_and_summed_up() {
        let text = "# HELP x y\n# TYPE outbox_worker_breaker_state gauge\n\
            outbox_worker_breaker_state{source=\"cards\",rpc=\"A/B\"} 0\n\
            outbox_worker_breaker_state{source=\"cards\",rpc=\"A/B\"} 2\n\
            outbox_worker_breaker_state{source=\"other\",rpc=\"A/C\"} 1\n\
            outbox_worker_breaker_state{source=\"cards\",rpc=\"A/D\"} 3\n\
            outbox_worker_held{source=\"cards\",rpc=\"A/D\",code=\"data_loss\",reason=\"card # is lost\"} 1\n\
            outbox_worker_held{source=\"cards\",rpc=\"A/D\",code=\"data_loss\",reason=\"before\"} 0\n\
            outbox_worker_in_flight{source=\"cards\",rpc=\"A/B\"} 3\n\
            outbox_worker_in_flight{source=\"cards\",rpc=\"A/B\"} 4 1700000000\n\
            outbox_worker_in_flight{source=\"other\",rpc=\"A/B\"} 5\n\
            odd{a=\"x\\\"},b=\\\\\\n\",c=\"\"} 1e3\nplain 7\ngarbage\n{\n";
        let workers = Workers { samples: samples(0, text).collect(), ..Workers::default() };
        assert_eq!(workers.of("cards", "A/B"), (Some(Breaker::Open), Some(7)));
        assert_eq!(workers.of("cards", "A/C"), (None, None));
        assert_eq!(workers.of("cards", "A/D"), (Some(Breaker::Held), None));
        assert_eq!(workers.held("cards", "A/D"), ["data_loss: card # is lost"]);
        let odd = workers.samples.iter().find(|sample| sample.name == "odd").unwrap();
        assert_eq!((odd.labels["a"].as_str(), odd.value), ("x\"},b=\\\n", 1000.0));
        assert!(workers.samples.iter().any(|sample| sample.name == "plain" && sample.value == 7.0));
    }

    /// Guards: a worker that rests at a queue does not measure it, so its zeros are not shown. Others are.
    #[test]
    fn a_worker_that_rests_shows_no_age() {
        let age = |duty: &str, age: u32| {
            format!("{duty}outbox_worker_queue_oldest_seconds{{source=\"sqs\",rpc=\"A/B\"}} {age}\n")
        };
        let duty = |role: u32| format!("outbox_worker_duty{{source=\"sqs\",rpc=\"A/B\"}} {role}\n");
        let oldest = |answers: &[String]| {
            let samples = answers.iter().enumerate().flat_map(|(worker, text)| samples(worker, text));
            let workers = Workers { samples: samples.collect(), ..Workers::default() };
            workers.oldest_seconds("sqs", "A/B")
        };
        let (rests, helps, watches) = (age(&duty(0), 0), age(&duty(1), 0), age(&duty(2), 7));
        assert_eq!(oldest(std::slice::from_ref(&rests)), None);
        assert_eq!(oldest(std::slice::from_ref(&helps)), None);
        assert_eq!(oldest(std::slice::from_ref(&watches)), Some(7.0));
        assert_eq!(oldest(&[rests, watches, helps]), Some(7.0));
        assert_eq!(oldest(&[age("", 3)]), Some(3.0), "an older worker does not show its part");
        let other = duty(0).replace("A/B", "A/C");
        assert_eq!(oldest(&[age(&other, 4)]), Some(4.0));
    }

    /// Guards: an unusable address is refused with the remedy.
    #[test]
    fn addresses_are_checked() {
        for good in ["http://worker:9465", "http://worker:9465/", "http://[::1]:9465/metrics"] {
            assert!(good.parse::<Url>().is_ok(), "{good}");
        }
        for bad in
            ["worker:9465", "https://worker:9465", "http://worker", "http://:9465", "http://a:b@c:1/x", ""]
        {
            assert!(bad.parse::<Url>().unwrap_err().remedy.contains("http://HOST:PORT"), "{bad}");
        }
    }
}
