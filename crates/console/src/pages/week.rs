//! How an RPC went in the last seven days, as a Prometheus has it.

use maud::{Markup, html};

use crate::answers::Rpc;
use crate::pages::spark::line;
use crate::shown::{short, thousands};
use crate::week::{Past, Points, SECONDS, STEP_SECONDS};

/// By the name in the query, and what a number is about.
const SHOWN: [(&str, &str); 3] = [
    ("waiting", "Waiting at most in 3 hours"),
    ("done", "Done in 3 hours"),
    ("failed", "Failed attempts in 3 hours"),
];
const WHY_CHARS_MAX: usize = 200;

pub(crate) fn section(Past { place, answer }: &Past, of: &[&Rpc]) -> Markup {
    html! {
        section aria-labelledby="week" {
            h2 #week { "Seven days" }
            @match answer {
                Err(why) => { p { "Not known, because Prometheus at " (place) " did not answer as it should: " (short(why, WHY_CHARS_MAX)) } }
                Ok(week) => {
                    p.quiet { "From Prometheus at " (place) "." }
                    @for rpc in of {
                        @if of.len() > 1 { p { "In " (rpc.source) ":" } }
                        @match week.get(&rpc.source) {
                            None => { p { "It has no numbers of this RPC." } }
                            Some(all) => {
                                dl {
                                    @for (what, about) in SHOWN { dt { (about) } dd.spark { (series(all.get(what), about)) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// A series that Prometheus does not have is not known, and one of zeros is a zero.
fn series(points: Option<&Points>, about: &str) -> Markup {
    let most = points.and_then(|points| points.iter().max_by_key(|(_, number)| *number));
    let (Some(points), Some((_, most))) = (points, most) else { return html! { "not known" } };
    let last = points.last().map_or(0, |(_, number)| *number);
    let text =
        format!("{about}, in the last seven days: {} at most, {} last", thousands(*most), thousands(last));
    html! {
        (thousands(*most)) " at most, " (thousands(last)) " last "
        @if *most > 0 && points.len() > 1 { (line(points, SECONDS, 2 * STEP_SECONDS, &text)) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn shown(answer: crate::week::Answer) -> String {
        let rpc = Rpc { source: "cards".to_owned(), ..Rpc::default() };
        section(&Past { place: "prometheus:9090".to_owned(), answer }, &[&rpc]).into_string()
    }

    /// Guards promise 8: a number of the past says where it is from, and what is not known is no zero.
    #[test]
    fn a_week_has_its_source() {
        let waiting = vec![(2 * STEP_SECONDS, 12_000), (STEP_SECONDS, 7), (0, 3)];
        let of = |name: &str, points: Points| (name.to_owned(), points);
        let series = [of("waiting", waiting), of("done", vec![(STEP_SECONDS, 0), (0, 0)])].into();
        let told = shown(Ok(Arc::new([("cards".to_owned(), series)].into())));
        for part in ["prometheus:9090", "12,000 at most, 3 last", "0 at most, 0 last", "not known", "<svg"] {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(told.matches("<svg").count(), 1, "zeros have no line: {told}");
        assert!(shown(Ok(Arc::default())).contains("It has no numbers of this RPC"));
        assert!(shown(Err("no answer within 2 s".to_owned())).contains("Not known, because"));
    }
}
