use std::collections::{BTreeMap, HashMap};

use outbox_finding::Place;
use prost_reflect::{DescriptorPool, FileDescriptor};

use crate::files::Files;

/// The field `name` of every descriptor has the number 1.
const NAME: i32 = 1;

/// The places of descriptors by file and path, as in `SourceCodeInfo`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(BTreeMap<String, FilePlaces>);

#[derive(Debug, Clone)]
struct FilePlaces {
    shown: String,
    spans: HashMap<Vec<i32>, Span>,
}

/// From 1, in characters.
#[derive(Debug, Clone, Copy)]
struct Span {
    line: usize,
    column: usize,
    width: usize,
}

impl Places {
    pub(crate) fn new(pool: &DescriptorPool, files: &Files) -> Self {
        let of = |file: FileDescriptor| {
            let source = files.get(file.name())?;
            let lines: Vec<&str> = source.text.as_deref().unwrap_or_default().lines().collect();
            let info = file.file_descriptor_proto().source_code_info.as_ref();
            let locations = info.map_or(&[][..], |info| &info.location);
            let spans = locations
                .iter()
                .filter_map(|location| Some((location.path.clone(), span(&location.span, &lines)?)))
                .collect();
            Some((file.name().to_owned(), FilePlaces { shown: source.shown.clone(), spans }))
        };
        Self(pool.files().filter_map(of).collect())
    }

    /// The place of a descriptor's name, or else of the descriptor, or else of its parent.
    pub(crate) fn of(&self, file: &FileDescriptor, path: &[i32]) -> Place {
        let Some(FilePlaces { shown, spans }) = self.0.get(file.name()) else {
            return Place::start_of(file.name());
        };
        let name: Vec<i32> = path.iter().copied().chain([NAME]).collect();
        let found = spans.get(&name).or_else(|| {
            // A path consists of pairs of field and index, so every second prefix is a descriptor.
            (1..=path.len() / 2).rev().find_map(|pairs| spans.get(&path[..pairs * 2]))
        });
        let Some(Span { line, column, width }) = found.copied() else { return Place::start_of(shown) };
        Place { file: shown.clone(), line, column, width }
    }
}

/// Reads a span of `SourceCodeInfo`: from 0, in bytes, with three numbers if it ends on its first line.
fn span(span: &[i32], lines: &[&str]) -> Option<Span> {
    let number = |at: usize| span.get(at).and_then(|&n| usize::try_from(n).ok());
    let (line, begin) = (number(0)?, number(1)?);
    let chars = |bytes: usize| match lines.get(line).and_then(|line| line.get(..bytes)) {
        Some(before) => before.chars().count(),
        None => bytes,
    };
    let width = if span.len() == 3 { chars(number(2)?).saturating_sub(chars(begin)) } else { 0 };
    Some(Span { line: line + 1, column: chars(begin) + 1, width })
}
