//! Files in an edition of protobuf. The parser does not read them. One that no other file imports is passed over with a
//! warning, so that it does not make a whole tree unusable.

use std::collections::BTreeSet;

use outbox_finding::{Finding, Place};
use prost_reflect::prost::encoding::{WireType, decode_key, decode_varint};
use prost_types::FileDescriptorSet;

/// What is said of a file that was passed over.
pub(crate) fn passed_over(file: &str) -> Finding {
    Finding::warning(
        Place::start_of(file),
        "the file is written in an edition of protobuf, and is passed over",
        "its events and RPCs are not known here: write `syntax = \"proto3\";` if it has some",
    )
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

/// Takes the files in an edition out of a set, and returns their names. `Err` is one that another file needs.
pub(crate) fn pass_over(set: &mut FileDescriptorSet) -> Result<BTreeSet<String>, String> {
    let is_read = |syntax: &str| matches!(syntax, "" | "proto2" | "proto3");
    let (read, rest): (Vec<_>, Vec<_>) =
        std::mem::take(&mut set.file).into_iter().partition(|file| is_read(file.syntax()));
    set.file = read;
    let names: BTreeSet<String> = rest.iter().map(|file| file.name().to_owned()).collect();
    let mut needed = set.file.iter().flat_map(|file| &file.dependency);
    match needed.find(|name| names.contains(*name)) {
        Some(needed) => Err(needed.clone()),
        None => Ok(names),
    }
}

/// An encoded set without the files of these names. The files that stay keep every byte, so also options that are not known.
pub(crate) fn without(set: &[u8], names: &BTreeSet<String>) -> Vec<u8> {
    let mut kept = Vec::with_capacity(set.len());
    let mut rest = set;
    while !rest.is_empty() {
        let Some(field) = next_field(&mut rest) else { break };
        if !name_of(field).is_some_and(|name| names.contains(name)) {
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

    /// Guards: a file in an edition is left out, and the others stay as they were, unless one of them imports it.
    #[test]
    fn only_a_file_that_nobody_imports_is_passed_over() {
        let set = FileDescriptorSet {
            file: vec![file("a.proto", "proto3", &[]), file("b.proto", "editions", &["a.proto"])],
        };
        let mut left = set.clone();
        let names = pass_over(&mut left).unwrap();
        assert_eq!(names.iter().collect::<Vec<_>>(), ["b.proto"]);
        assert_eq!(without(&set.encode_to_vec(), &names), left.encode_to_vec());
        assert_eq!(left.file.len(), 1);

        let mut needed = FileDescriptorSet {
            file: vec![file("a.proto", "proto3", &["b.proto"]), file("b.proto", "editions", &[])],
        };
        assert_eq!(pass_over(&mut needed), Err("b.proto".to_owned()));
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
