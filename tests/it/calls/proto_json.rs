//! The payload is canonical proto3 JSON, as any other language's protobuf writes and reads it. Each field type is compared
//! with Google's own implementation, both ways.

use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use outbox::Event;
use outbox::proto::prost::Message;
use outbox::proto::prost_reflect::ReflectMessage;
use outbox::proto::prost_types::{
    Any, Duration, FieldMask, ListValue, Struct, Timestamp, Value, value::Kind,
};
use serde_json::json;
use testkit::{process, tools};
use tests::proto::every::v1::every_kind_happened_event::{Choice, Inner, inner::Deeper, r#match};
use tests::proto::every::v1::{
    Color, EveryKindHappenedEvent as Every, MaybeKeyedEvent, NumberCountedEvent, OAuth2TokenGrantedEvent,
};

const TYPE: &str = "every.v1.EveryKindHappenedEvent";

/// Guards: our JSON equals the JSON of Google's implementation, and each reads the other's.
#[test]
fn payloads_are_canonical_json_both_ways() {
    let mut python = Python::start();
    let mut covered = BTreeSet::new();
    for (name, event) in values() {
        let ours = serde_json::to_string(&event).unwrap_or_else(|error| panic!("{name}: {error}"));
        let theirs = python.write(&event).unwrap_or_else(|error| panic!("{name}: {error}"));
        let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).expect(json);
        assert_eq!(value(&ours), value(&theirs), "{name}: ours on the left");

        // Debug, because NaN is not even equal to itself.
        let read: Every =
            serde_json::from_str(&theirs).unwrap_or_else(|error| panic!("{name}: {error}: {theirs}"));
        assert_eq!(sorted(&read), sorted(&event), "{name}: read from theirs");
        let read = python.read(&ours).unwrap_or_else(|error| panic!("{name}: {error}: {ours}"));
        assert_eq!(sorted(&read), sorted(&event), "{name}: they read ours");
        covered.extend(event.transcode_to_dynamic().fields().map(|(field, _)| field.name().to_owned()));
    }
    let all: BTreeSet<String> =
        Every::default().descriptor().fields().map(|field| field.name().to_owned()).collect();
    assert_eq!(all.difference(&covered).collect::<Vec<_>>(), Vec::<&String>::new(), "fields no value sets");
}

/// Guards: of the many ways to write a value, we accept those that Google's implementation accepts, as the same value. We
/// refuse those that it refuses.
#[test]
fn only_accepted_spellings_are_read() {
    let mut python = Python::start();
    let spellings = [
        r#"{"int32Value": "7"}"#,
        r#"{"int32Value": 7.0}"#,
        r#"{"int32Value": 7e1}"#,
        r#"{"int32Value": 7.5}"#,
        r#"{"int32Value": 2147483648}"#,
        r#"{"int32Value": ""}"#,
        r#"{"int32Value": true}"#,
        r#"{"int64Value": 7}"#,
        r#"{"int64Value": "9007199254740993"}"#,
        r#"{"int64Value": "9223372036854775808"}"#,
        r#"{"uint32Value": -1}"#,
        r#"{"uint64Value": "18446744073709551615"}"#,
        r#"{"int64_value": "7"}"#,
        r#"{"doubleValue": "1.5"}"#,
        r#"{"doubleValue": "NaN"}"#,
        r#"{"doubleValue": "-Infinity"}"#,
        r#"{"doubleValue": "many"}"#,
        r#"{"floatValue": 1e39}"#,
        r#"{"boolValue": "true"}"#,
        r#"{"boolValue": 1}"#,
        r#"{"stringValue": 1}"#,
        r#"{"stringValue": null}"#,
        r#"{"bytesValue": "-_-_"}"#,
        r#"{"bytesValue": "+/+/"}"#,
        r#"{"bytesValue": "YQ"}"#,
        r#"{"bytesValue": "YQ=="}"#,
        r#"{"enumValue": "COLOR_RED"}"#,
        r#"{"enumValue": 1}"#,
        r#"{"enumValue": 99}"#,
        r#"{"enumValue": "COLOR_MAUVE"}"#,
        r#"{"messageValue": {}}"#,
        r#"{"messageValue": null}"#,
        r#"{"doubles": [1, "2", "Infinity"]}"#,
        r#"{"doubles": null}"#,
        r#"{"strings": ["a", null]}"#,
        r#"{"colors": ["COLOR_RED", 0, -7]}"#,
        r#"{"optionalInt32": 0}"#,
        r#"{"optionalString": ""}"#,
        r#"{"optionalInt64": null}"#,
        r#"{"stringsByString": {"": "x"}}"#,
        r#"{"messagesByInt64": {"-1": {"text": "x"}}}"#,
        r#"{"messagesByInt64": {"one": {}}}"#,
        r#"{"colorsByBool": {"true": "COLOR_RED"}}"#,
        r#"{"colorsByBool": {"yes": "COLOR_RED"}}"#,
        r#"{"stringsByString": {"a": null}}"#,
        r#"{"chosenNumber": "1", "chosenText": "x"}"#,
        r#"{"chosenNull": null}"#,
        r#"{"chosenNull": "NULL_VALUE"}"#,
        r#"{"timestamp": "2026-11-22T03:04:05Z"}"#,
        r#"{"timestamp": "2026-11-22T03:04:05.678901234Z"}"#,
        r#"{"timestamp": "2026-11-22T05:04:05+02:00"}"#,
        r#"{"timestamp": "2026-11-22"}"#,
        r#"{"timestamp": "2026-13-22T03:04:05Z"}"#,
        r#"{"duration": "1.5s"}"#,
        r#"{"duration": "-0.000000001s"}"#,
        r#"{"duration": "90"}"#,
        r#"{"fieldMask": "a.b,cD"}"#,
        r#"{"structValue": {"a": [1, null, {"b": "c"}]}}"#,
        r#"{"anyJson": null}"#,
        r#"{"listValue": [1, "x", false]}"#,
        r#"{"any": {"@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s"}}"#,
        r#"{"any": {"@type": "type.googleapis.com/every.v1.MaybeKeyedEvent", "id": 3}}"#,
        r#"{"any": {"value": "1s"}}"#,
        r#"{"int64Wrapper": "7"}"#,
        r#"{"boolWrapper": null}"#,
        r#"{"stringWrapper": ""}"#,
        r#"{"@otherwise": "x"}"#,
        r#"{"named_otherwise": "x"}"#,
        r#"{"enumValue": "COLOR_MAUVE", "fromTheFuture": [{}]}"#,
        r#"{"#,
    ];
    let mut differ = Vec::new();
    for json in spellings {
        let theirs = python.read(json).map(|event| sorted(&event));
        let ours = serde_json::from_str::<Every>(json)
            .map(|event| sorted(&event))
            .map_err(|error| error.to_string());
        let agree = match (&ours, &theirs) {
            (Ok(ours), Ok(theirs)) => ours == theirs,
            (ours, theirs) => ours.is_err() && theirs.is_err(),
        };
        if !agree {
            differ.push(format!("{json}\n  ours:   {ours:?}\n  theirs: {theirs:?}"));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

/// Guards: where Google's Python implementation accepts more than the specification, we do not.
#[test]
fn invalid_values_are_refused() {
    let mut python = Python::start();
    for json in [r#"{"bytesValue": "§"}"#, r#"{"messageValue": []}"#, "[]"] {
        assert!(python.read(json).is_ok(), "it refuses {json}, too: no exception any more");
        assert!(serde_json::from_str::<Every>(json).is_err(), "{json}");
    }
}

/// Guards: a reader that is older than its publisher reads the fields it has.
#[test]
fn unknown_fields_are_passed_over_when_read() {
    let read: MaybeKeyedEvent = serde_json::from_str(r#"{"id": 3, "fromTheFuture": {"a": [1]}}"#).unwrap();
    assert_eq!(read, MaybeKeyedEvent { id: Some(3) });
}

/// Guards: a value without a JSON form is an error, and nothing is written.
#[test]
fn values_without_a_json_form_are_refused() {
    let double = [&[9][..], &f64::NAN.to_le_bytes()].concat();
    let hidden = Any { type_url: "type.googleapis.com/google.protobuf.DoubleValue".into(), value: double };
    let lost = [
        Every { timestamp: Some(Timestamp { seconds: i64::MAX, nanos: 0 }), ..Every::default() },
        Every { double_wrapper: Some(f64::NAN), ..Every::default() },
        Every { float_wrapper: Some(f32::INFINITY), ..Every::default() },
        Every { timestamp: Some(Timestamp { seconds: 0, nanos: -1 }), ..Every::default() },
        Every { timestamp: Some(Timestamp { seconds: 0, nanos: 1_000_000_000 }), ..Every::default() },
        Every {
            timestamp: Some(Timestamp { seconds: 253_402_300_799, nanos: 1_500_000_000 }),
            ..Every::default()
        },
        Every { duration: Some(Duration { seconds: 1, nanos: -500_000_000 }), ..Every::default() },
        Every { duration: Some(Duration { seconds: -1, nanos: 1 }), ..Every::default() },
        Every { duration: Some(Duration { seconds: 0, nanos: 1_000_000_000 }), ..Every::default() },
        Every { duration: Some(Duration { seconds: 0, nanos: i32::MIN }), ..Every::default() },
        Every { field_mask: Some(FieldMask { paths: vec!["card_".into()] }), ..Every::default() },
        Every {
            field_mask: Some(FieldMask { paths: vec!["a".into(), "card__id".into()] }),
            ..Every::default()
        },
        Every { any_json: Some(Value { kind: None }), ..Every::default() },
        Every { any_json: Some(Value { kind: Some(Kind::NumberValue(f64::NAN)) }), ..Every::default() },
        Every { any: Some(Any::default()), ..Every::default() },
        Every { any: Some(hidden), ..Every::default() },
    ];
    for event in lost {
        let nested = Every { itself: Some(Box::new(event.clone())), ..Every::default() };
        assert!(serde_json::to_string(&event).is_err(), "{event:?}");
        assert!(serde_json::to_string(&nested).is_err(), "{nested:?}");
    }
}

/// Guards: names and keys follow the convention, for every kind of key; an unset field gives no key.
#[test]
fn events_have_the_names_and_keys_of_their_proto() {
    assert_eq!(Every::NAME, "event_every_kind_happened");
    assert_eq!(Every::default().key(), None);
    let token = |id: &str| OAuth2TokenGrantedEvent { client_id: id.into() };
    assert_eq!(OAuth2TokenGrantedEvent::NAME, "event_oauth2_token_granted");
    assert_eq!((token("c-1").key().as_deref(), token("").key()), (Some("c-1"), None));
    let counted = |number| NumberCountedEvent { number };
    assert_eq!((counted(-3).key().as_deref(), counted(0).key()), (Some("-3"), None));
    let maybe = |id| MaybeKeyedEvent { id };
    assert_eq!((maybe(Some(0)).key().as_deref(), maybe(None).key()), (Some("0"), None));
}

/// One event for each interesting value, with a name for it.
fn values() -> Vec<(&'static str, Every)> {
    let inner = |text: &str| Inner { text: text.into(), deeper: Some(Deeper { number: i64::MIN }) };
    let choice = |choice| Every { choice: Some(choice), ..Every::default() };
    let kind = |kind| Value { kind: Some(kind) };
    let map = |pairs: Vec<(&str, Value)>| Struct {
        fields: pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
    };
    let any = |url: &str, value: Vec<u8>| Any { type_url: format!("type.googleapis.com/{url}"), value };
    macro_rules! every {
        ($($name:literal: { $($field:ident: $value:expr),* })*) => {
            vec![$(($name, Every { $($field: $value,)* ..Every::default() })),*]
        };
    }
    let mut values = every! {
        "nothing": {}
        "double": { double_value: 0.1 }
        "double, large": { double_value: 1e300 }
        "double, tiny": { double_value: -5e-324 }
        "double, NaN": { double_value: f64::NAN }
        "double, infinite": { double_value: f64::INFINITY }
        "double, minus infinite": { double_value: f64::NEG_INFINITY }
        "float": { float_value: 0.1 }
        "float, large": { float_value: 3.402_823e38 }
        "float, NaN": { float_value: f32::NAN }
        "int32": { int32_value: i32::MIN }
        "int64": { int64_value: i64::MIN }
        "int64, beyond a double": { int64_value: 9_007_199_254_740_993 }
        "uint32": { uint32_value: u32::MAX }
        "uint64": { uint64_value: u64::MAX }
        "sint32": { sint32_value: -1 }
        "sint64": { sint64_value: -1 }
        "fixed32": { fixed32_value: u32::MAX }
        "fixed64": { fixed64_value: u64::MAX }
        "sfixed32": { sfixed32_value: i32::MIN }
        "sfixed64": { sfixed64_value: i64::MIN }
        "bool": { bool_value: true }
        "string": { string_value: "Café \"quoted\" \\ \u{1} \u{2028} 🦀 </script>".into() }
        "bytes": { bytes_value: vec![0xfb, 0xff, 0xfe, 0x00] }
        "enum": { enum_value: Color::Red as i32 }
        "enum, negative": { enum_value: Color::Negative as i32 }
        "enum, unknown": { enum_value: 99 }
        "message": { message_value: Some(inner("x")) }
        "message, empty": { message_value: Some(Inner::default()) }
        "doubles": { doubles: vec![0.0, -0.0, f64::NAN, -1.5] }
        "int64s": { int64s: vec![0, i64::MAX] }
        "strings": { strings: vec![String::new(), "a".into()] }
        "bytes list": { bytes_list: vec![vec![], vec![1]] }
        "colors": { colors: vec![0, 1, -7, 42] }
        "messages": { messages: vec![Inner::default(), inner("y")] }
        "bools": { bools: vec![false, true] }
        "optional, set to their defaults": {
            optional_int32: Some(0), optional_int64: Some(0), optional_string: Some(String::new()),
            optional_bool: Some(false), optional_bytes: Some(vec![]), optional_enum: Some(0),
            optional_message: Some(Inner::default()), optional_double: Some(0.0)
        }
        "map of strings": { strings_by_string: HashMap::from([("".into(), "".into()), ("é\"".into(), "v".into())]) }
        "map by int64": { messages_by_int64: HashMap::from([(i64::MIN, inner("z")), (0, Inner::default())]) }
        "map by bool": { colors_by_bool: HashMap::from([(false, 0), (true, 1)]) }
        "map by uint32": { bytes_by_uint32: HashMap::from([(u32::MAX, vec![7])]) }
        "map of int64": { int64s_by_string: HashMap::from([("n".into(), i64::MAX)]) }
        "timestamp": { timestamp: Some(Timestamp { seconds: 1_795_316_645, nanos: 0 }) }
        "timestamp, milliseconds": { timestamp: Some(Timestamp { seconds: 1_795_316_645, nanos: 678_000_000 }) }
        "timestamp, microseconds": { timestamp: Some(Timestamp { seconds: 0, nanos: 1_000 }) }
        "timestamp, nanoseconds": { timestamp: Some(Timestamp { seconds: -1, nanos: 1 }) }
        "timestamp, year 1": { timestamp: Some(Timestamp { seconds: -62_135_596_800, nanos: 0 }) }
        "timestamp, year 9999": { timestamp: Some(Timestamp { seconds: 253_402_300_799, nanos: 999_999_999 }) }
        "duration": { duration: Some(Duration { seconds: 90, nanos: 0 }) }
        "duration, negative": { duration: Some(Duration { seconds: 0, nanos: -1_500_000 }) }
        "duration, longest": { duration: Some(Duration { seconds: -315_576_000_000, nanos: -999_999_999 }) }
        "field mask": { field_mask: Some(FieldMask { paths: vec!["card_id".into(), "a_b.c_d".into()] }) }
        "struct": { struct_value: Some(map(vec![
            ("null", kind(Kind::NullValue(0))),
            ("number", kind(Kind::NumberValue(1.5))),
            ("list", kind(Kind::ListValue(ListValue { values: vec![kind(Kind::BoolValue(true))] }))),
            ("nested", kind(Kind::StructValue(map(vec![("a", kind(Kind::StringValue("b".into())))]))))
        ])) }
        "value, string": { any_json: Some(kind(Kind::StringValue("x".into()))) }
        "value, null": { any_json: Some(kind(Kind::NullValue(0))) }
        "list": { list_value: Some(ListValue { values: vec![kind(Kind::NumberValue(-0.5)), kind(Kind::NullValue(0))] }) }
        "any, of a message": { any: Some(any("every.v1.MaybeKeyedEvent", MaybeKeyedEvent { id: Some(0) }.encode_to_vec())) }
        "any, of a well-known type": { any: Some(any("google.protobuf.Duration", Duration { seconds: 1, nanos: 0 }.encode_to_vec())) }
        "empty": { empty: Some(()) }
        "timestamps": { timestamps: vec![Timestamp::default()] }
        "durations": { durations: HashMap::from([("d".into(), Duration { seconds: 0, nanos: 100 })]) }
        "wrappers": {
            double_wrapper: Some(0.0), float_wrapper: Some(-0.25), int64_wrapper: Some(i64::MIN),
            uint64_wrapper: Some(u64::MAX), int32_wrapper: Some(0), uint32_wrapper: Some(1),
            bool_wrapper: Some(false), string_wrapper: Some(String::new()), bytes_wrapper: Some(vec![1])
        }
        "itself": { itself: Some(Box::new(Every { int64_value: 1, ..Every::default() })) }
        "awkward names": {
            named_otherwise: "a".into(), r#type: "b".into(), self_: "c".into(), http2_url_of_it: "d".into(),
            awkward: Some(r#match::Self_ { yes: true })
        }
    };
    values.extend([
        ("oneof, a number that is zero", choice(Choice::ChosenNumber(0))),
        ("oneof, a text that is empty", choice(Choice::ChosenText(String::new()))),
        ("oneof, a message", choice(Choice::ChosenMessage(inner("m")))),
        ("oneof, null", choice(Choice::ChosenNull(0))),
        ("oneof, an enum", choice(Choice::ChosenColor(Color::Red as i32))),
    ]);
    values
}

/// Sorts the entries of maps, which `Debug` shows in no fixed order.
fn sorted(event: &Every) -> String {
    fn sort(value: serde_json::Value) -> serde_json::Value {
        match value {
            serde_json::Value::Object(map) => {
                let sorted: std::collections::BTreeMap<_, _> =
                    map.into_iter().map(|(key, value)| (key, sort(value))).collect();
                sorted.into_iter().collect()
            }
            other => other,
        }
    }
    // Reading through the descriptors would compare our code with itself. So the message is compared without its maps, and
    // the maps by key.
    let maps = json!({
        "strings_by_string": event.strings_by_string,
        "messages_by_int64": event.messages_by_int64.iter().map(|(key, value)| (key.to_string(), format!("{value:?}"))).collect::<HashMap<_, _>>(),
        "colors_by_bool": event.colors_by_bool.iter().map(|(key, value)| (key.to_string(), *value)).collect::<HashMap<_, _>>(),
        "bytes_by_uint32": event.bytes_by_uint32.iter().map(|(key, value)| (key.to_string(), value.clone())).collect::<HashMap<_, _>>(),
        "int64s_by_string": event.int64s_by_string,
        "durations": event.durations.iter().map(|(key, value)| (key.clone(), format!("{value:?}"))).collect::<HashMap<_, _>>(),
    });
    let without_maps = Every {
        strings_by_string: HashMap::new(),
        messages_by_int64: HashMap::new(),
        colors_by_bool: HashMap::new(),
        bytes_by_uint32: HashMap::new(),
        int64s_by_string: HashMap::new(),
        durations: HashMap::new(),
        ..event.clone()
    };
    format!("{without_maps:?} {}", sort(maps))
}

/// Google's implementation, in a process of its own.
struct Python {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Python {
    fn start() -> Self {
        let packages = tools::python_protobuf().unwrap_or_else(|error| panic!("{error}"));
        let descriptors = process::target().join(format!("every-{}.bin", fastrand::u64(..)));
        std::fs::write(&descriptors, tests::proto::DESCRIPTOR_SET).unwrap();
        let mut child = Command::new("python3")
            .arg(process::root().join("tests/it/calls/proto_json.py"))
            .arg(&descriptors)
            .env("PYTHONPATH", packages)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let mut python = Self { child, stdin, stdout: BufReader::new(stdout) };
        // It answers once it has read the descriptors.
        python.ask(&json!({ "type": TYPE, "json": "{}" })).unwrap();
        std::fs::remove_file(descriptors).unwrap();
        python
    }

    fn write(&mut self, event: &Every) -> Result<String, String> {
        let answer = self.ask(&json!({ "type": TYPE, "binary": BASE64.encode(event.encode_to_vec()) }))?;
        Ok(answer["json"].as_str().unwrap().to_owned())
    }

    fn read(&mut self, json: &str) -> Result<Every, String> {
        let answer = self.ask(&json!({ "type": TYPE, "json": json }))?;
        let binary = BASE64.decode(answer["binary"].as_str().unwrap()).unwrap();
        Ok(Every::decode(binary.as_slice()).unwrap())
    }

    fn ask(&mut self, question: &serde_json::Value) -> Result<serde_json::Value, String> {
        writeln!(self.stdin, "{question}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        let answer: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|_| panic!("python said {line:?}"));
        match answer["error"].as_str() {
            Some(error) => Err(error.to_owned()),
            None => Ok(answer),
        }
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
