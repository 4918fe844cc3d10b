//! Who may do what.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{Request, StatusCode};
use outbox_console::{Access, Allow, Answer, Answering, Ask, Demo, Question, Settings, Viewer, router};

use super::support::*;

/// Who may do everything.
fn boss(name: &str) -> Viewer {
    Viewer {
        name: name.to_owned(),
        may_repair: true,
        may_destroy: true,
        may_see_payloads: true,
        ..Viewer::default()
    }
}

/// Guards: without the right to drop or to see payloads there is no way to either, and a try changes nothing. It is written down,
/// and who repeats it a thousand times fills no audit.
#[tokio::test]
async fn who_is_not_named_neither_drops_nor_sees_payloads() {
    let kept = Shared::default();
    let console = console(Arc::new(kept.clone()));
    let page_of_letter = PAGES[2];
    let payload = format!("{page_of_letter}/payload");
    for path in PAGES.iter().chain(&["/dead/letter/43120"]) {
        let (_, shown) = page(&console, path, operator()).await;
        assert!(!shown.contains("/drop") && !shown.contains("/payload"), "{path}: {shown}");
    }
    let (_, shown) = page(&console, page_of_letter, boss("ann")).await;
    assert!(shown.contains("/drop?what=letters") && shown.contains(&payload), "{shown}");
    let token = form_token(&shown);
    let fields =
        format!("form_token={token}&why=x&typed=RecordCardTransaction&dead_by=1&what=letters&rpc=A%2FB");
    for path in [payload.as_str(), "/drop"] {
        let response = answer(&console, post(path, operator(), ORIGIN, &fields)).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{path}");
    }
    assert_eq!(kept.0.refused().len(), 2);
    for _ in 0..100 {
        answer(&console, post("/drop", viewer(), ORIGIN, &fields)).await;
    }
    assert!(kept.0.refused().len() <= 20, "{}", kept.0.refused().len());
    assert_eq!(kept.0.changes(), []);
}

/// Guards: what the database's role may not is offered to no viewer, and no form of it is taken. While that is not known, there is none.
#[tokio::test]
async fn a_role_is_the_outer_wall() {
    #[derive(Debug)]
    struct Role(Option<(bool, bool)>);
    impl Ask for Role {
        fn ask(&self, question: Question) -> Answering {
            match (question.words[0].as_str(), self.0) {
                ("role", None) => Down.ask(question),
                ("role", Some((repairs, sees_payloads))) => Box::pin(async move {
                    Ok(Answer {
                        json: serde_json::json!({"repairs": repairs, "sees_payloads": sees_payloads}),
                    })
                }),
                _ => Demo.ask(question),
            }
        }

        fn command(&self, words: &[String]) -> String {
            Demo.command(words)
        }
    }
    for (role, forms, payload) in [
        (None, false, false),
        (Some((false, false)), false, false),
        (Some((false, true)), false, false),
        (Some((true, false)), true, false),
        (Some((true, true)), true, true),
    ] {
        let console = console(Arc::new(Role(role)));
        let (_, shown) = page(&console, PAGES[2], boss("ann")).await;
        assert_eq!(shown.contains("/payload"), payload, "{role:?}");
        assert_eq!(shown.contains("/drop") && shown.contains("/dead/redrive"), forms, "{role:?}");
        let (status, _) = page(&console, "/drop?what=letters&rpc=A%2FB", boss("ann")).await;
        assert_eq!(status == StatusCode::OK, forms, "{role:?}");
        let pause = post(&format!("{RPC}/pause"), boss("ann"), ORIGIN, "for=1h&why=x");
        // With a form, its token is looked at.
        assert_eq!(answer(&console, pause).await.status(), StatusCode::FORBIDDEN, "{role:?}");
    }
}

/// Guards: groups come from the trusted proxy alone, and looking can be for some.
#[tokio::test]
async fn looking_can_be_for_a_group() {
    let header = Access::Header {
        name: "x-forwarded-email".parse().unwrap(),
        groups: Some("x-forwarded-groups".parse().unwrap()),
        trust: vec!["10.0.0.0/8".parse().unwrap()],
    };
    let rules = ["view=group:sre", "payload=group:lead"].map(|rule| rule.parse().unwrap());
    let allow = Allow::new(rules.to_vec(), false);
    let console = router(Arc::new(Demo), Settings { allow, ..settings(header) }).unwrap();
    for (groups, status, payload) in [
        (&["sre"][..], StatusCode::OK, false),
        (&["dev, lead"], StatusCode::OK, true),
        (&["dev"], StatusCode::FORBIDDEN, false),
        (&["sre", "lead"], StatusCode::FORBIDDEN, false),
        (&[], StatusCode::FORBIDDEN, false),
    ] {
        let peer: SocketAddr = "10.1.2.3:5000".parse().unwrap();
        let request = Request::get(PAGES[2]).header("host", HOST).header("x-forwarded-email", "ann");
        let request = request.extension(ConnectInfo(peer));
        let request = groups.iter().fold(request, |request, of| request.header("x-forwarded-groups", *of));
        let response = answer(&console, request.body(Body::empty()).unwrap()).await;
        assert_eq!(response.status(), status, "{groups:?}");
        assert_eq!(text(response).await.contains("/payload"), payload, "{groups:?}");
    }
}

/// Guards: a drop is bound to its count, and needs the typed name, a reason and, if so set, another person.
#[tokio::test]
async fn a_drop_needs_a_name_a_reason_and_another_person() {
    let kept = Shared::default();
    let two = Settings { second_person: true, ..settings(Access::Mounted) };
    let (alone, two) = (console(Arc::new(kept.clone())), router(Arc::new(kept.clone()), two).unwrap());
    let rpc = "AfterPayService%2FRecordCardTransaction";
    let at = "2026-11-22T13:11:42.000000Z";
    let path = format!("/drop?what=letters&rpc={rpc}");
    let (_, shown) = page(&alone, &path, boss("ann")).await;
    assert!(shown.contains("4,960") && shown.contains("For example"), "{shown}");
    let token = form_token(&shown);
    let rest = format!("form_token={token}&what=letters&rpc={rpc}");
    let typed = "typed=RecordCardTransaction";
    for fields in [
        format!("{rest}&dead_by={at}&why=INC-1"),
        format!("{rest}&dead_by={at}&{typed}"),
        format!("{rest}&dead_by={at}&typed=AfterPayService&why=INC-1"),
        format!("{rest}&{typed}&why=INC-1"),
        format!("{rest}&dead_by=-9000000000000000&{typed}&why=INC-1"),
        format!("form_token={token}&what=letters&code=internal&dead_by={at}&{typed}&why=INC-1"),
    ] {
        let response = answer(&alone, post("/drop", boss("ann"), ORIGIN, &fields)).await;
        assert_eq!(response.status(), StatusCode::BAD_REQUEST, "{fields}");
    }
    assert_eq!(kept.0.changes(), []);
    let fields = format!("{rest}&dead_by={at}&{typed}&why=INC-1");
    assert_eq!(
        answer(&alone, post("/drop", boss("ann"), ORIGIN, &fields)).await.status(),
        StatusCode::SEE_OTHER
    );
    let words = [
        "dlq",
        "drop",
        "--rpc=AfterPayService/RecordCardTransaction",
        "--dead-by=2026-11-22T13:11:42.000000Z",
        "--why=INC-1",
        "--yes",
    ];
    assert_eq!(kept.0.changes()[0].words, words);

    // Another console has other signatures.
    let (_, shown) = page(&two, &path, boss("ann")).await;
    let rest = format!("form_token={}&what=letters&rpc={rpc}", form_token(&shown));
    let fields = format!("{rest}&dead_by={at}&{typed}&why=INC-1");
    let asked = text(answer(&two, post("/drop", boss("ann"), ORIGIN, &fields)).await).await;
    let (_, link) = asked.split_once("href=\"/drop?").unwrap();
    let signed = link.split('"').next().unwrap().replace("&amp;", "&");
    assert_eq!(kept.0.changes().len(), 1, "one alone drops nothing");
    for (console, who, of) in [
        (&two, "ann", signed.clone()),
        (&two, "Ann ", signed.clone()),
        (&two, "eve", signed.replace("RecordCardTransaction", "Another")),
        (&two, "eve", signed.replace("signature=", "signature=0")),
        (&alone, "eve", signed.clone()),
    ] {
        let (status, _) = page(console, &format!("/drop?{of}"), boss(who)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{who} {of}");
    }
    let (status, confirm) = page(&two, &format!("/drop?{signed}"), boss("eve")).await;
    assert!(status == StatusCode::OK && confirm.contains("4,960") && confirm.contains("INC-1"), "{confirm}");
    let own = format!("form_token={}&{signed}", form_token(&confirm));
    let (_, of_ann) = page(&two, &path, boss("ann")).await;
    let anns = format!("form_token={}&{signed}", form_token(&of_ann));
    assert_eq!(
        answer(&two, post("/drop", boss("ann"), ORIGIN, &anns)).await.status(),
        StatusCode::BAD_REQUEST
    );
    assert_eq!(kept.0.changes().len(), 1);
    assert_eq!(answer(&two, post("/drop", boss("eve"), ORIGIN, &own)).await.status(), StatusCode::SEE_OTHER);
    let last = kept.0.changes().pop().unwrap();
    assert_eq!(last.who, "eve, console");
    // The bound is that of the first person's count, however late the second one confirms.
    assert!(last.words.contains(&format!("--dead-by={at}")), "{last:?}");
    assert!(last.words.contains(&"--why=INC-1 (asked for by ann)".to_owned()), "{last:?}");
}

/// Guards: a person with two names is not the second person, if tokens say that they are one.
#[tokio::test]
async fn one_person_with_two_names_confirms_nothing() {
    let kept = Shared::default();
    let two = Settings { second_person: true, ..settings(Access::Mounted) };
    let console = router(Arc::new(kept.clone()), two).unwrap();
    let person = |name: &str, subject: &str| Viewer { subject: Some(subject.to_owned()), ..boss(name) };
    let ann = person("ann@example.com", "u-1");
    let rpc = "AfterPayService%2FRecordCardTransaction";
    let (_, shown) = page(&console, &format!("/drop?what=letters&rpc={rpc}"), ann.clone()).await;
    let fields = format!(
        "form_token={}&what=letters&rpc={rpc}&dead_by=2026-11-22T13:11:42.000000Z&typed=RecordCardTransaction&why=INC-1",
        form_token(&shown)
    );
    let asked = text(answer(&console, post("/drop", ann, ORIGIN, &fields)).await).await;
    let (_, link) = asked.split_once("href=\"/drop?").unwrap();
    let signed = link.split('"').next().unwrap().replace("&amp;", "&");
    for (name, subject, status) in [
        ("u-1", "u-1", StatusCode::BAD_REQUEST),
        ("ann.b@example.com", "u-1", StatusCode::BAD_REQUEST),
        ("Ann@example.com", "u-2", StatusCode::BAD_REQUEST),
        ("eve@example.com", "u-2", StatusCode::OK),
    ] {
        let (is, _) = page(&console, &format!("/drop?{signed}"), person(name, subject)).await;
        assert_eq!(is, status, "{name} {subject}");
    }
    assert_eq!(kept.0.changes(), []);
}

/// Guards promise 8: while the database does not say what its role may, the first page waits for it, and style and scripts don't.
#[tokio::test(start_paused = true)]
async fn style_waits_for_no_database() {
    #[derive(Debug)]
    struct Stuck;
    impl Ask for Stuck {
        fn ask(&self, question: Question) -> Answering {
            match question.words[0].as_str() {
                "role" => Box::pin(std::future::pending()),
                _ => Demo.ask(question),
            }
        }

        fn command(&self, words: &[String]) -> String {
            Demo.command(words)
        }
    }
    let console = console(Arc::new(Stuck));
    let began = tokio::time::Instant::now();
    for path in ["/console.css", "/console.js", "/htmx.js"] {
        assert_eq!(page(&console, path, boss("ann")).await.0, StatusCode::OK);
    }
    assert_eq!(began.elapsed(), std::time::Duration::ZERO);
    let (status, shown) = page(&console, PAGES[2], boss("ann")).await;
    assert!(status == StatusCode::OK && !shown.contains("/payload"), "{shown}");
    let waited = began.elapsed();
    assert_eq!(page(&console, PAGES[2], boss("ann")).await.0, StatusCode::OK);
    assert_eq!(began.elapsed(), waited, "once");
}
