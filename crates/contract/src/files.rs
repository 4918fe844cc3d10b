use std::collections::BTreeMap;

/// The files one was asked to read, by their name in descriptors; not what they import.
pub(crate) type Files = BTreeMap<String, SourceFile>;

#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// As people name it: with the directory it was found in.
    pub(crate) shown: String,
    /// `None` in a descriptor set.
    pub(crate) text: Option<String>,
}
