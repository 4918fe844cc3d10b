//! Asks a Prometheus that scrapes the workers how an RPC went. It is asked for what a page shows, one RPC at a time, and its answer
//! is for all viewers of some minutes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::Uri;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use tokio::time::{Instant, timeout};

use crate::fetch::fetch_from_inside;
use crate::frame::has_usable_port;
use crate::shown::encoded;
use crate::week::{Answer, Past, Points, SECONDS, STEP_SECONDS, Week};

/// A number of it is about three hours, so it hardly changes meanwhile.
const KEPT_FOR: Duration = Duration::from_secs(300);
/// After a failure every page says that the numbers are not known, without asking.
const AGAIN_AFTER: Duration = Duration::from_secs(10);
/// Longer no page waits for it.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
const WEEKS_MAX: usize = 48;

/// A server of Prometheus.
#[derive(Debug)]
pub struct Prometheus {
    base: String,
    place: String,
    kept: Mutex<Kept>,
    /// One request at a time.
    asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By RPC, the oldest first.
    weeks: Vec<(String, Instant, Arc<Week>)>,
    failed: Option<(Instant, String)>,
}

impl Prometheus {
    /// `http://prometheus:9090`, or with https, and with a path before that of its API.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri = url.parse::<Uri>().map_err(|error| error.to_string())?;
        let place = uri.authority().map(ToString::to_string).unwrap_or_default();
        let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
        if place.contains('@') {
            return Err("an address with a password is not taken".to_owned());
        }
        if !is_http || !has_usable_port(&place) || place.is_empty() || uri.query().is_some() {
            return Err("it is no address like http://prometheus:9090".to_owned());
        }
        let base = url.trim_end_matches('/').to_owned();
        Ok(Self { base, place, kept: Mutex::default(), asking: tokio::sync::Mutex::default() })
    }

    /// Nothing for a name that is none: it would be part of the query.
    pub(crate) async fn week(&self, rpc: &str, now: DateTime<Utc>) -> Option<Past> {
        let is_name = rpc.chars().all(|c| c.is_ascii_alphanumeric() || "/._".contains(c));
        if !is_name {
            return None;
        }
        let answer = match self.known(rpc) {
            Some(answer) => answer,
            None => match timeout(ANSWER_WITHIN, self.ask(rpc, now)).await {
                Ok(answer) => answer,
                Err(_) => self.keep(rpc, Err(format!("no answer within {} s", ANSWER_WITHIN.as_secs()))),
            },
        };
        Some(Past { place: self.place.clone(), answer })
    }

    async fn ask(&self, rpc: &str, now: DateTime<Utc>) -> Answer {
        let _one = self.asking.lock().await;
        // Another page may have asked meanwhile.
        if let Some(answer) = self.known(rpc) {
            return answer;
        }
        let to = now.timestamp();
        let url = format!(
            "{}/api/v1/query_range?query={}&start={}&end={to}&step={STEP_SECONDS}",
            self.base,
            encoded(&query(rpc)),
            to - SECONDS
        );
        let week = match url.parse::<Uri>() {
            Ok(url) => fetch_from_inside(&url).await.and_then(|text| read(&text, to)),
            Err(error) => Err(error.to_string()),
        };
        self.keep(rpc, week.map(Arc::new))
    }

    fn known(&self, rpc: &str) -> Option<Answer> {
        let kept = self.kept();
        let week = kept.weeks.iter().find(|(of, at, _)| of == rpc && at.elapsed() < KEPT_FOR);
        let week = week.map(|(_, _, week)| Ok(Arc::clone(week)));
        let failed = || kept.failed.as_ref().filter(|(at, _)| at.elapsed() < AGAIN_AFTER);
        week.or_else(|| failed().map(|(_, why)| Err(why.clone())))
    }

    fn keep(&self, rpc: &str, answer: Answer) -> Answer {
        let (mut kept, now) = (self.kept(), Instant::now());
        match &answer {
            Err(why) => kept.failed = Some((now, why.clone())),
            Ok(week) => {
                kept.failed = None;
                kept.weeks.retain(|(of, _, _)| of != rpc);
                if kept.weeks.len() >= WEEKS_MAX {
                    kept.weeks.remove(0);
                }
                kept.weeks.push((rpc.to_owned(), now, Arc::clone(week)));
            }
        }
        answer
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All numbers in one request, each series with a label that says what it is. On Postgres each worker measures the same queue, so
/// the largest counts.
fn query(rpc: &str) -> String {
    let hours = STEP_SECONDS / 3600;
    let ended = |outcomes: &str| {
        format!(
            "sum by (source) (increase(outbox_worker_deliveries_total{{rpc=\"{rpc}\",outcome=~\"{outcomes}\"}}[{hours}h]))"
        )
    };
    let waiting = format!(
        "max by (source) (max_over_time(outbox_worker_queue_messages{{rpc=\"{rpc}\",state=\"waiting\"}}[{hours}h]))"
    );
    let named = [("waiting", waiting), ("done", ended("done")), ("failed", ended("retry|dead"))]
        .map(|(what, of)| format!("label_replace({of}, \"what\", \"{what}\", \"\", \"\")"));
    named.join(" or ")
}

#[derive(Deserialize)]
struct Answered {
    data: Data,
}

#[derive(Deserialize)]
struct Data {
    result: Vec<Series>,
}

#[derive(Deserialize)]
struct Series {
    metric: Labels,
    values: Vec<(f64, String)>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Labels {
    source: String,
    what: String,
}

/// Pure: what it answered, as points before this time.
fn read(text: &[u8], to: i64) -> Result<Week, String> {
    let Answered { data } =
        serde_json::from_slice(text).map_err(|error| format!("its answer can't be read: {error}"))?;
    let mut week = Week::new();
    for Series { metric, values } in data.result {
        let points: Points = values.iter().filter_map(|(at, value)| point(to, *at, value)).collect();
        week.entry(metric.source).or_default().insert(metric.what, points);
    }
    Ok(week)
}

/// It may answer `NaN`.
fn point(to: i64, at: f64, value: &str) -> Option<(i64, i64)> {
    let value = value.parse::<f64>().ok().filter(|value| value.is_finite())?;
    let ago = to - at as i64;
    (0..=SECONDS).contains(&ago).then_some((ago, value.round() as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: an address is one of a server, without a password.
    #[test]
    fn an_address_is_taken_or_refused() {
        for (url, place) in [
            ("http://prometheus:9090", Some("prometheus:9090")),
            ("https://metrics.example.com/prometheus/", Some("metrics.example.com")),
            ("prometheus:9090", None),
            ("http://ann:secret@prometheus:9090", None),
            ("http://prometheus:9090?x=1", None),
            ("ftp://prometheus", None),
            ("/prometheus", None),
            ("", None),
        ] {
            assert_eq!(Prometheus::parse(url).ok().map(|parsed| parsed.place).as_deref(), place, "{url}");
        }
    }

    /// Guards promise 8: numbers are of their source, and what is no number is left out.
    #[test]
    fn an_answer_is_read() {
        let text = r#"{"status":"success","data":{"resultType":"matrix","result":[
            {"metric":{"source":"cards","what":"waiting"},"values":[[999000,"7"],[1000000.5,"12.6"],[1000001,"NaN"],[1,"5"]]},
            {"metric":{"source":"sqs","what":"done"},"values":[]}]}}"#;
        let week = read(text.as_bytes(), 1_000_001).unwrap();
        assert_eq!(week["cards"]["waiting"], [(1001, 7), (1, 13)]);
        assert!(week["sqs"]["done"].is_empty());
        assert!(read(b"<html>", 0).unwrap_err().contains("can't be read"));
    }

    /// Guards: an address that no server can have is refused when it is given.
    #[test]
    fn an_address_is_of_a_server() {
        for (url, is_one) in [
            ("http://prometheus:9090", true),
            ("https://[::1]/prometheus/", true),
            ("http://[::1]:9090", true),
            ("http://prometheus:99999", false),
            ("http://prometheus:", false),
            ("http://", false),
            ("prometheus:9090", false),
            ("http://prometheus/?token=1", false),
            ("http://ann:hunter2@prometheus", false),
        ] {
            let refused = Prometheus::parse(url).err();
            assert_eq!(refused.is_none(), is_one, "{url}");
            assert!(refused.is_none_or(|why| !why.contains("hunter2")));
        }
    }

    /// Guards SECURITY.md: what is entered as a name of an RPC is never part of another query.
    #[tokio::test]
    async fn a_name_is_no_query() {
        let prometheus = Prometheus::parse("http://127.0.0.1:1").unwrap();
        for odd in ["A/B\"}", "A/B or vector(1)", "A/{B}", "A/B\\"] {
            assert!(prometheus.week(odd, Utc::now()).await.is_none(), "{odd}");
        }
        let past = prometheus.week("acme.v1.A_Service/B", Utc::now()).await.unwrap();
        assert_eq!((past.place.as_str(), past.answer.is_err()), ("127.0.0.1:1", true));
    }

    /// Guards: after a failure no page waits for the next one, and a number is kept for some minutes.
    #[tokio::test(start_paused = true)]
    async fn it_is_seldom_asked() {
        let prometheus = Prometheus::parse("http://127.0.0.1:1").unwrap();
        let advance = |seconds| tokio::time::advance(Duration::from_secs(seconds));
        prometheus.keep("A/B", Ok(Arc::default())).unwrap();
        prometheus.keep("A/C", Err("away".to_owned())).unwrap_err();
        assert!(prometheus.known("A/B").unwrap().is_ok(), "it was known before");
        assert_eq!(prometheus.known("A/D").unwrap().unwrap_err(), "away");
        advance(11).await;
        assert!(prometheus.known("A/D").is_none() && prometheus.known("A/B").is_some());
        advance(300).await;
        assert!(prometheus.known("A/B").is_none());
        for n in 0..2 * WEEKS_MAX {
            prometheus.keep(&n.to_string(), Ok(Arc::default())).unwrap();
        }
        assert_eq!(prometheus.kept().weeks.len(), WEEKS_MAX);
    }
}
