//! The numbers of our options, where an option of a company's own has one of them. In a tree of proto files Outbox brings the
//! declaration itself, so it can take other numbers there: each option is known by its name.

use outbox_finding::{Finding, Place};

use crate::option::{KEY, REMEDY, SENSITIVE, shares};

/// As in outbox/options.proto.
const OURS: [(&str, u32); 2] = [(KEY, 93_914_932), (SENSITIVE, 93_914_933)];

/// The options of fields that a file declares with a number of ours.
pub(crate) fn taken(shown: &str, text: &str) -> Vec<Finding> {
    if !text.contains("FieldOptions") || !has_one(text) {
        return Vec::new();
    }
    let found = text.lines().enumerate().filter_map(|(index, line)| {
        let (name, column, number) = declared(line)?;
        let (ours, _) = OURS.into_iter().find(|(_, ours)| *ours == number)?;
        let place = Place { file: shown.to_owned(), line: index + 1, column, width: name.chars().count() };
        Some(Finding::warning(place, shares(name, number, ours), REMEDY))
    });
    found.collect()
}

pub(crate) fn has_one(text: &str) -> bool {
    OURS.iter().any(|(_, number)| text.contains(&number.to_string()))
}

/// With a copy of our declaration in the tree, the copy keeps its numbers.
pub(crate) fn refused_beside_a_copy(taken: Vec<Finding>) -> Vec<Finding> {
    let refused = |finding: Finding| {
        let hint =
            "give it another number, or remove outbox/options.proto from these files: Outbox needs no copy";
        Finding::error(finding.place, finding.message, hint)
    };
    taken.into_iter().map(refused).collect()
}

/// Our declaration with numbers that the texts do not have.
pub(crate) fn renumbered(options: &str, texts: &[String]) -> String {
    let is_free = |number: &u32| !texts.iter().any(|text| text.contains(&number.to_string()));
    let mut free = (OURS[0].1 + 1000..).filter(is_free);
    OURS.iter().fold(options.to_owned(), |options, (_, number)| match free.next() {
        Some(free) => options.replace(&number.to_string(), &free.to_string()),
        None => options,
    })
}

/// The name in `bool name = 1;`, its column, and the number.
fn declared(line: &str) -> Option<(&str, usize, u32)> {
    let (before, after) = line.split_once('=')?;
    let digits = after.trim_start();
    let digits = digits.split(|c: char| !c.is_ascii_digit()).next()?;
    let mut words = before.split_whitespace().rev();
    let (name, _type) = (words.next()?, words.next()?);
    let column = before.rfind(name).map(|at| before[..at].chars().count() + 1)?;
    Some((name, column, digits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OPTIONS_TEXT;

    /// Guards: our numbers are those of the file, are neither for private use nor of protobuf's registry, and can be replaced.
    #[test]
    fn the_numbers_are_those_of_the_file() {
        for (name, number) in OURS {
            let name = name.trim_start_matches("outbox.");
            assert!(OPTIONS_TEXT.contains(&format!("bool {name} = {number};")), "{name}");
            assert!(number > 99_999 && number < 536_870_912);
        }
        let other = renumbered(OPTIONS_TEXT, &["93915932".to_owned()]);
        assert!(other.contains("bool key = 93915933;") && !has_one(&other), "{other}");
    }

    /// Guards: only a declaration with our number is found, at its name.
    #[test]
    fn only_declarations_are_told() {
        for (line, expected) in [
            ("  string hint = 93914932;", Some(("hint", 10, 93_914_932))),
            ("bool a=7 [deprecated = true];", Some(("a", 6, 7))),
            ("// 93914932", None),
            ("x = 93914932;", None),
            ("bool a = b;", None),
        ] {
            assert_eq!(declared(line), expected, "{line}");
        }
        let text = "extend google.protobuf.FieldOptions {\n  string hint = 93914932;\n  bool other = 939149321;\n}\n";
        let told = taken("a.proto", text);
        assert_eq!(told.len(), 1);
        assert_eq!(told[0].place.line, 2);
        assert!(taken("a.proto", "message A { string hint = 93914932; }").is_empty());
    }
}
