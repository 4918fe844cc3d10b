//! Reasons without what differs from message to message, so that alike ones form one group. Pure.

/// What stands in place of a number, an id, or a quotation.
const NUMBER: &str = "N";
const HEX: &str = "HEX";
const UUID: &str = "UUID";
const QUOTED: &str = "'…'";
/// A shorter run of hexadecimal digits may be a word.
const HEX_DIGITS_MIN: usize = 8;
const UUID_GROUPS: [usize; 5] = [8, 4, 4, 4, 12];

#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Mask(&'static str),
}

/// Numbers, UUIDs, hexadecimal digits and quoted strings become placeholders.
pub(crate) fn masked(reason: &str) -> String {
    let text = |piece: &Piece<'_>| match piece {
        Piece::Text(text) => (*text).to_owned(),
        Piece::Mask(mask) => (*mask).to_owned(),
    };
    pieces(reason).iter().map(text).collect()
}

/// The longest part that is not masked: each reason of its group contains it.
pub(crate) fn longest_part(reason: &str) -> &str {
    let pieces = pieces(reason);
    let texts = joined(reason, &pieces);
    texts.into_iter().map(str::trim).max_by_key(|text| text.len()).unwrap_or_default()
}

/// Neighbouring texts of the pieces, as one slice of the reason.
fn joined<'a>(reason: &'a str, pieces: &[Piece<'a>]) -> Vec<&'a str> {
    let mut texts: Vec<(usize, usize)> = Vec::new();
    let mut joins = false;
    for piece in pieces {
        let Piece::Text(text) = piece else {
            joins = false;
            continue;
        };
        let begins = text.as_ptr() as usize - reason.as_ptr() as usize;
        match texts.last_mut().filter(|_| joins) {
            Some(last) => last.1 = begins + text.len(),
            None => texts.push((begins, begins + text.len())),
        }
        joins = true;
    }
    texts.into_iter().map(|(from, to)| &reason[from..to]).collect()
}

fn pieces(reason: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut rest, mut before) = (Vec::new(), reason, None);
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '"' | '`' | '\'' => quoted(rest, first, before).map(|len| (len, vec![Piece::Mask(QUOTED)])),
            first if first.is_ascii_alphanumeric() => Some(word(rest)),
            _ => None,
        };
        let (len, found) =
            taken.unwrap_or_else(|| (first.len_utf8(), vec![Piece::Text(&rest[..first.len_utf8()])]));
        pieces.extend(found);
        before = rest[..len].chars().next_back();
        rest = &rest[len..];
    }
    pieces
}

/// The length of a quotation that begins here. An apostrophe within a word begins none.
fn quoted(text: &str, quote: char, before: Option<char>) -> Option<usize> {
    if quote == '\'' && before.is_some_and(char::is_alphanumeric) {
        return None;
    }
    text[1..].find(quote).map(|at| at + 2)
}

/// The word that begins here, with its length.
fn word(text: &str) -> (usize, Vec<Piece<'_>>) {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let len = text.find(|c: char| !is_part(c)).unwrap_or(text.len());
    if is_uuid(&text[..len]) {
        return (len, vec![Piece::Mask(UUID)]);
    }
    let len = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let word = &text[..len];
    let digits = word.strip_prefix("0x").unwrap_or(word);
    let is_hex = !digits.is_empty() && digits.chars().all(|c| c.is_ascii_hexdigit());
    let is_number = word.chars().all(|c| c.is_ascii_digit());
    let is_long = word.len() >= HEX_DIGITS_MIN && word.chars().any(|c| c.is_ascii_digit());
    if is_hex && !is_number && (is_long || digits.len() < word.len()) {
        return (len, vec![Piece::Mask(HEX)]);
    }
    let mut pieces = Vec::new();
    let mut rest = word;
    while let Some(first) = rest.chars().next() {
        let is_digit = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != is_digit).unwrap_or(rest.len());
        pieces.push(if is_digit { Piece::Mask(NUMBER) } else { Piece::Text(&rest[..end]) });
        rest = &rest[end..];
    }
    match pieces.last() {
        Some(Piece::Mask(_)) => (len + number_goes_on(&text[len..]), pieces),
        _ => (len, pieces),
    }
}

/// How many characters of `.5`, `:7102` or `,000` belong to the number before.
fn number_goes_on(text: &str) -> usize {
    let mut len = 0;
    loop {
        let mut chars = text[len..].chars();
        let joins = matches!(chars.next(), Some('.' | ',' | ':'));
        if !joins || !chars.next().is_some_and(|c| c.is_ascii_digit()) {
            return len;
        }
        let digits = text[len + 1..].find(|c: char| !c.is_ascii_digit());
        len = digits.map_or(text.len(), |digits| len + 1 + digits);
    }
}

fn is_uuid(word: &str) -> bool {
    let groups: Vec<&str> = word.split('-').collect();
    groups.len() == UUID_GROUPS.len()
        && groups
            .iter()
            .zip(UUID_GROUPS)
            .all(|(group, len)| group.len() == len && group.chars().all(|c| c.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: alike reasons have one form, and words stay as they are.
    #[test]
    fn what_differs_is_masked() {
        for (reason, expected) in [
            ("", ""),
            ("no such card", "no such card"),
            ("no such card: 4711", "no such card: N"),
            ("card-7 is blocked", "card-N is blocked"),
            ("took 1.5 s, of 10,000 allowed", "took N s, of N allowed"),
            ("can't connect to 127.0.0.1:7102", "can't connect to N"),
            ("event 0198c7e2-0000-7000-8000-000000000001 is old", "event UUID is old"),
            ("trace 4bf92f3577b34da6 ended", "trace HEX ended"),
            ("at 0xdeadbeef", "at HEX"),
            ("facade, decade and deed", "facade, decade and deed"),
            ("duplicate key \"card_pkey\"", "duplicate key '…'"),
            ("field 'amount' of `Card`", "field '…' of '…'"),
            ("it doesn't fit, and won't", "it doesn't fit, and won't"),
            ("an open \" quote", "an open \" quote"),
            ("v1beta2", "vNbetaN"),
            ("é 7 日本 8", "é N 日本 N"),
            ("ends with 5.", "ends with N."),
        ] {
            assert_eq!(masked(reason), expected, "{reason}");
        }
        let alike = ["card 'a' of 12 is gone", "card \"b c\" of 7 is gone"];
        assert_eq!(masked(alike[0]), masked(alike[1]));
    }

    /// Guards promise 8: the part by which a group is found again is in each of its reasons.
    #[test]
    fn a_group_is_found_by_its_longest_part() {
        for (reason, expected) in [
            ("no such card", "no such card"),
            ("card 7 is blocked for now", "is blocked for now"),
            ("4711", ""),
            ("it doesn't fit 12", "it doesn't fit"),
        ] {
            assert_eq!(longest_part(reason), expected, "{reason}");
        }
    }
}
