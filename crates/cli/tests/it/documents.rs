//! Guards: what a newcomer copies from the documents works. Each snippet of proto is a whole file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{outbox, root, said};

/// A block of a document, without the document's indentation.
struct Snippet {
    document: PathBuf,
    text: String,
}

impl Snippet {
    /// The first line says the path, or else the package does.
    fn path(&self) -> String {
        let named = self.text.lines().next().and_then(|line| line.strip_prefix("// proto/"));
        let named = named.filter(|path| path.ends_with(".proto")).map(ToOwned::to_owned);
        named.unwrap_or_else(|| {
            let package =
                self.text.lines().find_map(|line| line.strip_prefix("package ")).unwrap_or_default();
            format!("{}/snippet.proto", package.trim_end_matches(';').replace('.', "/"))
        })
    }
}

/// The blocks of a language.
fn snippets(document: &Path, language: &str) -> Vec<Snippet> {
    let text = std::fs::read_to_string(document).unwrap();
    let lines =
        text.lines().map(|line| line.strip_prefix("//! ").or(line.strip_prefix("//!")).unwrap_or(line));
    let (mut found, mut open) = (Vec::new(), None::<(usize, String)>);
    for line in lines {
        let indent = line.len() - line.trim_start().len();
        open = match open.take() {
            None if line.trim() == format!("```{language}") => Some((indent, String::new())),
            None => None,
            Some((_, text)) if line.trim() == "```" => {
                found.push(Snippet { document: document.to_owned(), text });
                None
            }
            Some((outer, text)) => {
                Some((outer, format!("{text}{}\n", line.get(outer..).unwrap_or_default())))
            }
        };
    }
    found
}

/// Documents for users, and the documentation of outbox-build.
fn documents() -> Vec<PathBuf> {
    let mut found = vec![root().join("README.md"), root().join("crates/build/src/lib.rs")];
    let mut folders = ["docs", "clients", "ops", "infra"].map(|folder| root().join(folder)).to_vec();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "node_modules" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    found
}

fn lay_out(snippets: &[Snippet], router: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for snippet in snippets {
        let path = dir.path().join("proto").join(snippet.path());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &snippet.text).unwrap();
    }
    std::fs::write(dir.path().join("event_router.yaml"), router).unwrap();
    dir
}

/// Guards the README: its three steps, copied as they stand, pass `outbox check` and compile to Rust.
#[test]
fn the_three_steps_of_the_readme_work_as_they_stand() {
    let readme = root().join("README.md");
    let router = &snippets(&readme, "yaml")[0].text;
    let dir = lay_out(&snippets(&readme, "proto"), router);
    assert_eq!(said(&outbox(dir.path(), "check")), "ok: 1 event, 1 subscriber\nexit 0\n");
    compiles(dir.path());
}

/// Guards: each snippet of proto in a document is a whole file without a finding but that nobody subscribes.
#[test]
fn every_snippet_of_proto_is_a_whole_file() {
    let mut by_document: BTreeMap<PathBuf, Vec<Snippet>> = BTreeMap::new();
    for snippet in documents().iter().flat_map(|document| snippets(document, "proto")) {
        by_document.entry(snippet.document.clone()).or_default().push(snippet);
    }
    assert!(by_document.len() >= 2, "only {:?}", by_document.keys());
    for (document, snippets) in by_document {
        let document = document.display();
        for text in snippets.iter().map(|snippet| &snippet.text) {
            assert!(text.contains("\nsyntax = ") || text.starts_with("syntax = "), "{document}:\n{text}");
        }
        let dir = lay_out(&snippets, "event: []\n");
        let told = said(&outbox(dir.path(), "check"));
        assert!(told.ends_with("exit 0\n"), "{document}: {told}");
        let findings = told.lines().filter(|line| line.starts_with("warning: "));
        assert!(findings.clone().all(|line| line.ends_with("has no subscriber")), "{document}: {told}");
        compiles(dir.path());
    }
}

/// Guards: a snippet is found within a list and within a comment, and its path is known.
#[test]
fn snippets_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.md");
    let text = "1. **Do**:\n\n   ```proto\n   // proto/a/b.proto\n   x {\n     y\n\n   ```\n```yaml\nz\n```\n//! ```proto\n//! package c.v1;\n//!\n//! ```\n";
    std::fs::write(&file, text).unwrap();
    let found = snippets(&file, "proto");
    let found: Vec<_> = found.iter().map(|snippet| (snippet.path(), snippet.text.as_str())).collect();
    let expected = [
        ("a/b.proto".to_owned(), "// proto/a/b.proto\nx {\n  y\n\n"),
        ("c/v1/snippet.proto".to_owned(), "package c.v1;\n\n"),
    ];
    assert_eq!(found, expected);
}

fn compiles(dir: &Path) {
    let out = dir.join("out");
    std::fs::create_dir(&out).unwrap();
    outbox_build::Config::new(dir.join("proto")).out_dir(out).compile().unwrap();
}
