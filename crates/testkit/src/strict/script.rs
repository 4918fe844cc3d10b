/// The failures that a test ordered for batches of statements.
#[derive(Debug, Default)]
pub(super) struct Statements {
    /// Part of an item's key, and the code with which the next statement on that item fails.
    pub(super) fails: Vec<(String, &'static str)>,
    /// The number of batches whose answer is lost.
    pub(super) lost: usize,
    /// The number of batches whose last result is missing.
    pub(super) cut: usize,
    pub(super) shows_duplicates: bool,
}
