use crate::{outbox, root, said};

fn written(lang: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let done = said(&outbox(&root(), &format!("codegen --lang {lang} --out {}", dir.path().display())));
    assert!(done.starts_with("wrote ") && done.ends_with("exit 0\n"), "{done}");
    let file = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap();
    std::fs::read_to_string(file.path()).unwrap()
}

/// Guards: for the sample proto each language gets its events, with the fields of their keys.
#[test]
fn each_language_gets_the_events_of_proto() {
    let expected = [
        (
            "ts",
            r#"import { CardTransactionSettledEventSchema } from "./card/v1/card_event_pb.js";
import { HogeUpdatedEventSchema } from "./hoge/v1/hoge_event_pb.js";

export const EVENT_CARD_TRANSACTION_SETTLED = { name: "event_card_transaction_settled", schema: CardTransactionSettledEventSchema, key: "card_id" } as const;

export const EVENT_HOGE_UPDATED = { name: "event_hoge_updated", schema: HogeUpdatedEventSchema, key: "hoge_id" } as const;
"#,
        ),
        (
            "python",
            r#"EVENT_CARD_TRANSACTION_SETTLED = Event(name="event_card_transaction_settled", message_type="card.v1.CardTransactionSettledEvent", key="card_id")
EVENT_HOGE_UPDATED = Event(name="event_hoge_updated", message_type="hoge.v1.HogeUpdatedEvent", key="hoge_id")
"#,
        ),
        (
            "go",
            r#"var EventCardTransactionSettled = event{Name: "event_card_transaction_settled", MessageType: "card.v1.CardTransactionSettledEvent", Key: "card_id"}

var EventHogeUpdated = event{Name: "event_hoge_updated", MessageType: "hoge.v1.HogeUpdatedEvent", Key: "hoge_id"}
"#,
        ),
    ];
    for (lang, end) in expected {
        let text = written(lang);
        assert!(text.ends_with(end), "{text}");
    }
}

/// Guards: proto with a mistake writes nothing, and says the mistake with its place.
#[test]
fn nothing_is_written_from_proto_with_mistakes() {
    let dir = tempfile::tempdir().unwrap();
    let run = |proto: &str, more: &str| {
        std::fs::create_dir_all(dir.path().join("proto")).unwrap();
        std::fs::write(dir.path().join("proto/a.proto"), proto).unwrap();
        let done = said(&outbox(dir.path(), &format!("codegen --lang go --out gen{more}")));
        assert!(!dir.path().join("gen").exists(), "{done}");
        done
    };
    let unpaired =
        run("syntax = \"proto3\";\npackage a;\nenum Event { EVENT_UNSPECIFIED = 0; EVENT_A = 1; }\n", "");
    assert!(unpaired.contains("proto/a.proto:3") && unpaired.ends_with("exit 1\n"), "{unpaired}");
    let broken = run("syntax = \"proto3\";\nmessage A {\n", "");
    assert!(broken.contains("proto/a.proto") && broken.ends_with("exit 1\n"), "{broken}");
    let none = run("syntax = \"proto3\";\nmessage A {}\n", "");
    assert!(none.contains("proto has no event") && none.ends_with("exit 2\n"), "{none}");
    let package = run("syntax = \"proto3\";\nmessage A {}\n", " --package a-b");
    assert!(package.contains("--package") && package.ends_with("exit 2\n"), "{package}");
}
