//! Compiles `.proto` files to descriptors. Every mistake is a finding.

use std::path::{Path, PathBuf};

use miette::Diagnostic;
use outbox_finding::{Finding, Place, Report};
use prost_reflect::DescriptorPool;
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

use crate::files::{Files, SourceFile};
use crate::{editions, number};

/// The file of the options, which every proto may import.
pub const OPTIONS: &str = "outbox/options.proto";
/// Its text, for compilers that need a copy.
pub const OPTIONS_TEXT: &str = include_str!("../proto/outbox/options.proto");

/// `dirs` are what imports are relative to. Reads every file even after one failed, so that
/// one run reports every mistake.
pub(crate) fn compile(
    dirs: &[&Path],
    paths: &[PathBuf],
) -> Result<(DescriptorPool, Files, Vec<Finding>), Report> {
    let (mut report, mut passed_over) = (Report::default(), Vec::new());
    let options = options(dirs, paths, &mut report, &mut passed_over);
    let mut resolver = ChainFileResolver::new();
    for dir in dirs {
        resolver.add(IncludeFileResolver::new(dir.to_path_buf()));
    }
    resolver.add(OptionsResolver(options));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    for path in paths {
        if let Err(error) = compiler.open_file(path) {
            let broken = Broken::of(dirs, path, &error);
            // Also of a file that another one imports.
            if editions::is_in_edition(&broken.text) {
                let opened = path.display().to_string();
                let needs = (broken.shown != opened).then_some(broken.shown.as_str());
                passed_over.push(editions::passed_over(&opened, needs));
                continue;
            }
            report.add(broken.findings(&error));
            report.add_text(broken.shown, broken.text);
        }
    }
    if !report.is_empty() {
        return Err(report);
    }
    let files = compiler.files().filter(|file| !file.is_import()).map(|file| {
        let shown = file.path().map_or_else(|| file.name().to_owned(), |path| path.display().to_string());
        let text = file.path().and_then(|path| std::fs::read_to_string(path).ok());
        (file.name().to_owned(), SourceFile { shown, text })
    });
    Ok((compiler.descriptor_pool(), files.collect(), passed_over))
}

/// The text of outbox/options.proto for these files. If one of them has its number, it has another one.
fn options(dirs: &[&Path], paths: &[PathBuf], report: &mut Report, warnings: &mut Vec<Finding>) -> String {
    let others = paths.iter().filter(|path| !path.ends_with(OPTIONS));
    let read = |path: &PathBuf| std::fs::read_to_string(path).unwrap_or_default();
    let taken: Vec<Finding> =
        others.clone().flat_map(|path| number::taken(&path.display().to_string(), &read(path))).collect();
    if taken.is_empty() {
        return OPTIONS_TEXT.to_owned();
    }
    if dirs.iter().any(|dir| number::has_one(&read(&dir.join(OPTIONS)))) {
        for finding in number::refused_beside_a_copy(taken) {
            report.add_text(&finding.place.file, read(&PathBuf::from(&finding.place.file)));
            report.add([finding]);
        }
        return OPTIONS_TEXT.to_owned();
    }
    warnings.extend(taken);
    let texts: Vec<String> = others.map(read).collect();
    number::renumbered(OPTIONS_TEXT, &texts)
}

/// Serves `import "outbox/options.proto";`, so that a project needs no copy of the file.
struct OptionsResolver(String);

impl FileResolver for OptionsResolver {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == OPTIONS {
            File::from_source(name, &self.0)
        } else {
            Err(protox::Error::file_not_found(name))
        }
    }
}

/// The file an error is about: the one that was opened, or one that it imports.
struct Broken {
    shown: String,
    text: String,
    /// The import directories, for messages.
    dirs: String,
}

impl Broken {
    fn of(dirs: &[&Path], opened: &Path, error: &protox::Error) -> Self {
        let imported =
            error.file().and_then(|name| dirs.iter().map(|dir| dir.join(name)).find(|path| path.is_file()));
        let path = imported.as_deref().unwrap_or(opened);
        Self {
            shown: path.display().to_string(),
            text: std::fs::read(path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default(),
            dirs: dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", "),
        }
    }

    fn findings(&self, error: &protox::Error) -> Vec<Finding> {
        let related = error.related().into_iter().flatten();
        std::iter::once(error as &dyn Diagnostic).chain(related).map(|error| self.finding(error)).collect()
    }

    fn finding(&self, error: &dyn Diagnostic) -> Finding {
        let message = error.to_string();
        // The first label marks the earlier, correct definition; the last one marks the mistake.
        let label = error.labels().and_then(Iterator::last);
        let place = match label {
            Some(label) => self.place(label.offset(), label.len()),
            None => self.unlabelled(&message),
        };
        let help = error.help().map(|help| help.to_string());
        Finding::error(place, self.in_our_words(&message), self.hint(&message, help))
    }

    fn place(&self, offset: usize, len: usize) -> Place {
        let (before, after) = self.text.split_at_checked(offset).unwrap_or((&self.text, ""));
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let width = after.get(..len).map_or(len, |meant| meant.chars().count());
        Place { file: self.shown.clone(), line, column, width }
    }

    fn unlabelled(&self, message: &str) -> Place {
        if message.contains("reached end of file") {
            let text = self.text.trim_end();
            return self.place(text.len() - text.chars().next_back().map_or(0, char::len_utf8), 1);
        }
        // This file has an import that is part of the cycle `a -> b -> a`.
        let imports = message.split([' ', ':']).filter(|word| word.ends_with(".proto"));
        if let Some(at) = imports.filter_map(|name| self.text.find(&format!("\"{name}\""))).next() {
            return self.place(at, 0);
        }
        // A name that the message quotes stands in the text as a word.
        let named =
            message.split('\'').nth(1).and_then(|name| self.word(name).map(|at| self.place(at, name.len())));
        named.unwrap_or_else(|| Place::start_of(&self.shown))
    }

    fn word(&self, name: &str) -> Option<usize> {
        let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '.');
        let is_word = |&(at, _): &(usize, &str)| {
            !is_part(self.text[..at].chars().next_back())
                && !is_part(self.text[at + name.len()..].chars().next())
        };
        self.text.match_indices(name).find(is_word).map(|(at, _)| at)
    }

    fn in_our_words(&self, message: &str) -> String {
        if self.text.starts_with('\u{feff}') {
            return "the file begins with a byte order mark".to_owned();
        }
        message.to_owned()
    }

    /// Our hint if it is more specific; else the library's; else a general one.
    fn hint(&self, message: &str, help: Option<String>) -> String {
        const OURS: [(&str, &str); 13] = [
            ("import cycle", "move what both need into a file of its own"),
            (
                "'outbox.key' is not defined",
                "add `import \"outbox/options.proto\";` at the top: no copy of the file is needed",
            ),
            ("'outbox.", "the option is called (outbox.key)"),
            (
                "found 'edition'",
                "editions are not understood: write `syntax = \"proto3\";` as the first statement",
            ),
            ("expected a value of type", "write a value of that type, for example [(outbox.key) = true]"),
            ("reached end of file", "a brace, a quote or a semicolon is missing: look back from the end"),
            ("must be 0", "begin it with a value …_UNSPECIFIED = 0;"),
            ("enum numbers", "give it a number that fits 32 bits"),
            ("required fields", "remove `required`: in proto3 every field may be missing"),
            ("conflicts with", "give one of them another name"),
            ("defined twice", "give one of them another name"),
            ("already defined", "give one of them another name"),
            (
                "shadowed",
                "two directories have a file of this name: rename one, or name only one of the directories",
            ),
        ];
        const WHERE: [(&str, &str); 4] = [
            ("is not defined", "define it, or import the file that does"),
            (
                "but found",
                "look at this line and the end of the one before: statements end in `;`, blocks in `}`",
            ),
            ("number", "give it a number of its own, from 1 to 536870911, that no field has or had"),
            ("utf-8", "save the file as UTF-8"),
        ];
        if self.text.starts_with('\u{feff}') {
            return "save it as UTF-8 without one".to_owned();
        }
        if message.starts_with("import '") {
            return format!(
                "imports are looked up below {}: move it there, or pass its directory with --include",
                self.dirs
            );
        }
        let of = |hints: &[(&str, &str)]| {
            hints.iter().find(|(part, _)| message.contains(part)).map(|(_, hint)| (*hint).to_owned())
        };
        of(&OURS)
            .or(help)
            .or_else(|| of(&WHERE))
            .unwrap_or_else(|| "see the language guide: protobuf.dev/programming-guides/proto3".to_owned())
    }
}
