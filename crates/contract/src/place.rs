use finding::Place;
use prost_reflect::FileDescriptor;

use crate::Files;

/// The field `name` of every descriptor has the number 1, but of an enum's and a service's values it is so, too.
const NAME: i32 = 1;

/// Where a descriptor's name stands, or else the descriptor, or else what it stands in.
pub(crate) fn place(files: &Files, file: &FileDescriptor, path: &[i32]) -> Place {
    let shown = files.get(file.name()).map_or(file.name(), |source| source.shown.as_str());
    let info = file.file_descriptor_proto().source_code_info.as_ref();
    let spans = |path: &[i32]| {
        let location = info?.location.iter().find(|location| location.path == path)?;
        span(&location.span)
    };
    let name: Vec<i32> = path.iter().copied().chain([NAME]).collect();
    let found = spans(&name).or_else(|| {
        // Pairs of field and index, so every second prefix is a descriptor.
        (1..=path.len() / 2).rev().find_map(|pairs| spans(&path[..pairs * 2]))
    });
    let (line, column, width) = found.unwrap_or((1, 1, 0));
    Place { file: shown.to_owned(), line, column, width }
}

/// Spans count from 0, and have three numbers if they end on the line they begin on.
fn span(span: &[i32]) -> Option<(usize, usize, usize)> {
    let number = |at: usize| span.get(at).and_then(|&n| usize::try_from(n).ok());
    let (line, column) = (number(0)?, number(1)?);
    let width = if span.len() == 3 { number(2)?.saturating_sub(column) } else { 0 };
    Some((line + 1, column + 1, width))
}
