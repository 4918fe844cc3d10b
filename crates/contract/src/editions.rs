//! Files in an edition of protobuf. The parser does not read them. They are passed over with a warning, and so are the files that
//! import them. The rest of the tree stays usable.

use std::collections::BTreeMap;

use outbox_finding::{Finding, Place};
use prost_reflect::prost::encoding::{WireType, decode_key, decode_varint};
use prost_types::FileDescriptorSet;

/// What is said of a file that was passed over. `needs` is an import of it that was passed over, too.
pub(crate) fn passed_over(file: &str, needs: Option<&str>) -> Finding {
    let (message, hint) = match needs {
        None => (
            "the file is written in an edition of protobuf, and is passed over".to_owned(),
            "its events and RPCs are not known here: write `syntax = \"proto3\";` if it has some".to_owned(),
        ),
        Some(needs) => (
            format!("the file needs {needs}, which is written in an edition of protobuf, and is passed over"),
            format!(
                "its events and RPCs are not known here: if it has some, write `syntax = \"proto3\";` in {needs}"
            ),
        ),
    };
    Finding::warning(Place::start_of(file), message, hint)
}

/// Whether a text's first statement is `edition`.
pub(crate) fn is_in_edition(text: &str) -> bool {
    let mut rest = text.trim_start();
    while let Some(comment) = rest.strip_prefix("//").or_else(|| rest.strip_prefix("/*")) {
        let end = if rest.starts_with("//") { "\n" } else { "*/" };
        rest = comment.split_once(end).map_or("", |(_, after)| after).trim_start();
    }
    rest.strip_prefix("edition").is_some_and(|after| after.trim_start().starts_with('='))
}

/// Takes the files in an edition, and those that need them, out of a set. Returns their names, with the one that each needs.
pub(crate) fn pass_over(set: &mut FileDescriptorSet) -> BTreeMap<String, Option<String>> {
    let is_read = |syntax: &str| matches!(syntax, "" | "proto2" | "proto3");
    let in_edition = set.file.iter().filter(|file| !is_read(file.syntax()));
    let mut out: BTreeMap<String, Option<String>> =
        in_edition.map(|file| (file.name().to_owned(), None)).collect();
    loop {
        let before = out.len();
        for file in &set.file {
            if out.contains_key(file.name()) {
                continue;
            }
            if let Some(needed) = file.dependency.iter().find(|import| out.contains_key(*import)) {
                // The one in an edition, however far away it is.
                let cause = out[needed].clone().unwrap_or_else(|| needed.clone());
                out.insert(file.name().to_owned(), Some(cause));
            }
        }
        if out.len() == before {
            set.file.retain(|file| !out.contains_key(file.name()));
            return out;
        }
    }
}

/// An encoded set without the files of these names. The files that stay keep every byte, so also options that are not known.
pub(crate) fn without(set: &[u8], names: &BTreeMap<String, Option<String>>) -> Vec<u8> {
    let mut kept = Vec::with_capacity(set.len());
    let mut rest = set;
    while !rest.is_empty() {
        let Some(field) = next_field(&mut rest) else { break };
        if !name_of(field).is_some_and(|name| names.contains_key(name)) {
            kept.extend_from_slice(field);
        }
    }
    kept
}

/// One field of a set, with its key and length. A set has only files, so every field has a length.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let whole = *rest;
    let length = content(rest)?.len();
    let header = whole.len() - rest.len() - length;
    Some(&whole[..header + length])
}

/// The content of a field that has a length.
fn content<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (_, wire) = decode_key(rest).ok()?;
    if wire != WireType::LengthDelimited {
        return None;
    }
    let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
    let (content, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(content)
}

/// The name of an encoded file: its first field, as every compiler writes it.
fn name_of(mut field: &[u8]) -> Option<&str> {
    let mut file = content(&mut field)?;
    std::str::from_utf8(content(&mut file)?).ok()
}

#[cfg(test)]
mod tests {
    use prost_reflect::prost::Message;
    use prost_types::FileDescriptorProto;

    use super::*;

    fn file(name: &str, syntax: &str, imports: &[&str]) -> FileDescriptorProto {
        FileDescriptorProto {
            name: Some(name.to_owned()),
            syntax: Some(syntax.to_owned()),
            dependency: imports.iter().map(|&name| name.to_owned()).collect(),
            ..FileDescriptorProto::default()
        }
    }

    /// Guards: a file in an edition is left out, with those that need it, and the others stay as they were.
    #[test]
    fn only_what_needs_an_edition_is_passed_over() {
        let set = FileDescriptorSet {
            file: vec![
                file("a.proto", "proto3", &[]),
                file("b.proto", "editions", &["a.proto"]),
                file("d.proto", "proto3", &["a.proto", "c.proto"]),
                file("c.proto", "", &["b.proto"]),
                file("e.proto", "proto2", &["a.proto"]),
            ],
        };
        let mut left = set.clone();
        let names = pass_over(&mut left);
        let out: Vec<_> = names.iter().map(|(name, needs)| (name.as_str(), needs.as_deref())).collect();
        let cause = Some("b.proto");
        assert_eq!(out, [("b.proto", None), ("c.proto", cause), ("d.proto", cause)]);
        assert_eq!(without(&set.encode_to_vec(), &names), left.encode_to_vec());
        assert_eq!(left.file.len(), 2);
    }

    /// Guards: an edition is recognised behind comments, and nothing else is taken for one.
    #[test]
    fn the_first_statement_tells_an_edition() {
        for (text, expected) in [
            ("edition = \"2023\";", true),
            ("// edition\n/* two\nlines */ edition=\"2023\";", true),
            ("syntax = \"proto3\"; // edition = 1", false),
            ("editions = 1", false),
            ("// edition = 1", false),
            ("", false),
        ] {
            assert_eq!(is_in_edition(text), expected, "{text}");
        }
    }
}
