//! What a build script prints when proto is not what events need, and what it leaves when it is.

use std::path::Path;

use outbox_build::Config;
use prost_reflect::{DescriptorPool, Value};
use tempfile::TempDir;

/// Guards: a mistake is an error of the build with file, line and what to write; none is a panic, and none an error in
/// generated code.
#[test]
fn mistakes_are_errors_with_a_place_and_a_remedy() {
    let cases: [(&str, &[&str]); 20] = [
        (
            "enum Event { EVENT_UNSPECIFIED = 0; EVENT_HOGE_UPDATED = 1; }",
            &[
                "`EVENT_HOGE_UPDATED` has no message `HogeUpdatedEvent`",
                "a.proto:3:37",
                "add `message HogeUpdatedEvent",
            ],
        ),
        (
            "enum Event { EVENT_UNSPECIFIED = 0; }\nmessage HogeUpdatedEvent {}",
            &["`HogeUpdatedEvent` has no value", "a.proto:4:9", "add EVENT_HOGE_UPDATED = 1;"],
        ),
        (
            "enum Event { EVENT_UNSPECIFIED = 0; EVENT_FOO_BAR = 1; EVENT_FOOBAR = 2; }\nmessage FooBarEvent {}",
            &["`EVENT_FOOBAR` has no message", "a.proto:3:56"],
        ),
        ("message Hoge {", &["reached end of file", "a.proto:3:14"]),
        (
            "message Foo_Bar {}\nmessage FooBar {}",
            &[
                "message a.FooBar and message a.Foo_Bar would both be `a::FooBar` in Rust",
                "a.proto:4:9",
                "rename one",
            ],
        ),
        (
            "message Refund { enum Reason { NONE = 0; } }",
            &["message a.Refund and package a.refund would both be `mod a::refund` in Rust", "rename one"],
        ),
        (
            "enum Color { COLOR_RED = 0; RED = 1; }",
            &["`COLOR_RED` and `RED` of enum `Color` are both `Red`", "a.proto:3:29", "rename one"],
        ),
        (
            "message Paint { enum Color { COLOR_DARK_RED = 0; DarkRed = 1; } }",
            &["`COLOR_DARK_RED` and `DarkRed` of enum `Color` are both `DarkRed`", "a.proto:3:50"],
        ),
        (
            "enum Color { COLOR_NONE = 0; }\nenum COLOR { COLOR_RED = 0; }",
            &["enum a.COLOR and enum a.Color would both be `a::Color` in Rust", "a.proto:4:6"],
        ),
        (
            "message Hoge_Piyo {}\nenum HogePiyo { NONE = 0; }",
            &["enum a.HogePiyo and message a.Hoge_Piyo would both be `a::HogePiyo` in Rust", "a.proto:4:6"],
        ),
        (
            "syntax-2 message Hoge { optional string hoge_id = 1; optional string HogeId = 2; }",
            &["`hoge_id` and `HogeId` of message a.Hoge would both be `hoge_id` in Rust", "a.proto:3:61"],
        ),
        (
            "message Hoge { string hoge_id = 1; oneof HogeId { string a = 2; } }",
            &["`hoge_id` and `HogeId` of message a.Hoge would both be `hoge_id` in Rust", "a.proto:3:42"],
        ),
        (
            "syntax-2 message Hoge { oneof it { string some_text = 1; string SomeText = 2; } }",
            &["`some_text` and `SomeText` of oneof `it` would both be `SomeText` in Rust", "a.proto:3:56"],
        ),
        (
            "message Hoge { oneof it_is { string a = 1; } oneof ItIs { string b = 2; } }",
            &["`it_is` and `ItIs` of message a.Hoge would both be `it_is` in Rust", "a.proto:3:52"],
        ),
        (
            "enum Color { NONE = 0; }\nmessage Hoge { Color color = 1; Color set_color = 2; }",
            &[
                "`color` and `set_color` of message a.Hoge would both have the method `set_color` in Rust",
                "a.proto:4:39",
            ],
        ),
        (
            "syntax-2 enum Color { option allow_alias = true; RED = 0; ROT = 0; }\nmessage Hoge { optional Color color = 1 [default = ROT]; }",
            &[
                "the default `ROT` of `color` is an alias, and Rust has only `RED`",
                "a.proto:4:31",
                "write [default = RED]",
            ],
        ),
        ("message _ {}", &["message a._ has no name in Rust", "a.proto:3:9"]),
        ("message Hoge { string __ = 1; }", &["`__` of message a.Hoge has no name in Rust", "a.proto:3:23"]),
        ("enum Color { _ = 0; }", &["`_` of enum a.Color has no name in Rust", "a.proto:3:14"]),
        ("enum __ { NONE = 0; }", &["enum a.__ has no name in Rust", "a.proto:3:6"]),
    ];
    for (proto, expected) in cases {
        let dir = laid_out(proto);
        let said = match compiled(&dir) {
            Ok(_) => panic!("this compiled: {proto}"),
            Err(error) => format!("{error:?}"),
        };
        assert!(expected.iter().all(|part| said.contains(part)), "{proto}\n{said}");
    }
}

/// Guards: the embedded descriptor set keeps its options, and no comment.
#[test]
fn the_descriptor_set_keeps_options_and_no_comments() {
    let dir = laid_out(
        "import \"outbox/options.proto\";
         enum Event { EVENT_UNSPECIFIED = 0; EVENT_HOGE_UPDATED = 1; }
         // Nobody's business.
         message HogeUpdatedEvent { string hoge_id = 1 [(outbox.key) = true]; }",
    );
    assert_eq!(compiled(&dir).unwrap(), ["a.proto", "refund.proto"]);
    let bytes = std::fs::read(dir.path().join("out/outbox.bin")).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("business"));
    let pool = DescriptorPool::decode(bytes.as_slice()).unwrap();
    let field = pool.get_message_by_name("a.HogeUpdatedEvent").unwrap().get_field(1).unwrap();
    let key = pool.get_extension_by_name("outbox.key").unwrap();
    assert_eq!(*field.options().get_extension(&key), Value::Bool(true));
}

/// Guards: a file in an edition, and those that need it, are left out. An option of another with the number of (outbox.key) is no
/// key. The rest compiles, from a tree and from a descriptor set.
#[test]
fn what_is_passed_over_leaves_the_rest() {
    let dir = laid_out(
        "import \"acme.proto\";
         import \"outbox/options.proto\";
         enum Event { EVENT_UNSPECIFIED = 0; EVENT_HOGE_UPDATED = 1; EVENT_HOGE_GONE = 2; }
         message HogeUpdatedEvent { string hoge_id = 1 [(outbox.key) = true]; string note = 2 [(acme.internal) = true]; }
         message HogeGoneEvent { string gone_id = 1 [(acme.internal) = true]; }",
    );
    let acme = "syntax = \"proto3\";\npackage acme;\nimport \"google/protobuf/descriptor.proto\";
        extend google.protobuf.FieldOptions { bool internal = 93914932; }";
    for (name, text) in [
        ("acme.proto", acme),
        ("new.proto", "edition = \"2023\";\npackage b;\nmessage New {}"),
        (
            "needs.proto",
            "syntax = \"proto3\";\npackage b;\nimport \"new.proto\";\nmessage Needs { New new = 1; }",
        ),
    ] {
        std::fs::write(dir.path().join("proto").join(name), text).unwrap();
    }
    let set = dir.path().join("set.binpb");
    let out = dir.path().join("out");
    let mut left =
        Config::new(dir.path().join("proto")).out_dir(&out).descriptor_set(&set).compile().unwrap();
    left.sort();
    assert_eq!(left, ["a.proto", "acme.proto", "refund.proto"]);
    let of_tree = std::fs::read_to_string(out.join("outbox.rs")).unwrap();
    assert_eq!(of_tree.matches("fn key(&self)").count(), 1, "{of_tree}");
    assert!(of_tree.contains("self.hoge_id") && !of_tree.contains("self.note"), "{of_tree}");

    let in_an_edition = b"\x0a\x15\x0a\x09new.proto\x62\x08editions";
    std::fs::write(&set, [std::fs::read(&set).unwrap().as_slice(), in_an_edition].concat()).unwrap();
    Config::new(&set).out_dir(&out).compile().unwrap();
    assert_eq!(std::fs::read_to_string(out.join("outbox.rs")).unwrap(), of_tree);
}

/// Guards promise 1: a required number is a key also if it is 0, as it is for the clients of other languages.
#[test]
fn a_required_number_is_always_a_key() {
    let dir = laid_out(
        "syntax-2 import \"outbox/options.proto\";
         enum Event { EVENT_UNSPECIFIED = 0; EVENT_HOGE_UPDATED = 1; EVENT_HOGE_GONE = 2; }
         message HogeUpdatedEvent { required int64 hoge_id = 1 [(outbox.key) = true]; }
         message HogeGoneEvent { optional int64 gone_id = 1 [(outbox.key) = true]; }",
    );
    compiled(&dir).unwrap();
    let written = std::fs::read_to_string(dir.path().join("out/outbox.rs")).unwrap();
    let required = "::std::option::Option::Some(::std::borrow::Cow::Owned(self.hoge_id.to_string()))";
    assert!(written.contains(required) && written.contains("self.gone_id.map("), "{written}");
}

/// Guards: what did not change is not written, or cargo would build again for ever.
#[test]
fn what_did_not_change_is_not_written() {
    let dir = laid_out("message Hoge {}");
    compiled(&dir).unwrap();
    let file = dir.path().join("out/outbox.rs");
    let written = |file: &Path| std::fs::metadata(file).unwrap().modified().unwrap();
    let before = written(&file);
    compiled(&dir).unwrap();
    assert_eq!(written(&file), before);
}

fn laid_out(proto: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for sub in ["proto", "out"] {
        std::fs::create_dir(dir.path().join(sub)).unwrap();
    }
    let (syntax, proto) =
        proto.strip_prefix("syntax-2 ").map_or(("proto3", proto), |proto| ("proto2", proto));
    let text = format!("syntax = \"{syntax}\";\npackage a;\n{proto}\n");
    std::fs::write(dir.path().join("proto/a.proto"), text).unwrap();
    let refund = "syntax = \"proto3\";\npackage a.refund;\nmessage Paid {}\n";
    std::fs::write(dir.path().join("proto/refund.proto"), refund).unwrap();
    dir
}

fn compiled(dir: &TempDir) -> Result<Vec<String>, outbox_build::Error> {
    Config::new(dir.path().join("proto")).out_dir(dir.path().join("out")).compile()
}
