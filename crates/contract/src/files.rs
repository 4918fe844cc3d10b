use std::collections::BTreeMap;

/// The files to compile, by their name in descriptors, without their imports.
pub(crate) type Files = BTreeMap<String, SourceFile>;

#[derive(Debug, Clone)]
pub(crate) struct SourceFile {
    /// The path that messages show.
    pub(crate) shown: String,
    /// `None` in a descriptor set.
    pub(crate) text: Option<String>,
}
