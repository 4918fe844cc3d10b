//! `.proto` files to descriptors, every mistake a finding.

use std::path::{Path, PathBuf};

use finding::{Finding, Place, Report};
use miette::Diagnostic;
use prost_reflect::DescriptorPool;
use protox::Compiler;
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver, IncludeFileResolver};

use crate::{Files, SourceFile, Sources};

pub(crate) const OPTIONS: &str = "outbox/options.proto";

/// Reads every file even after one failed: one run reports every mistake that can be seen.
pub(crate) fn compile(sources: &Sources, paths: &[PathBuf]) -> Result<(DescriptorPool, Files), Report> {
    let mut resolver = ChainFileResolver::new();
    for dir in dirs(sources) {
        resolver.add(IncludeFileResolver::new(dir.to_owned()));
    }
    resolver.add(OptionsResolver);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);

    let mut report = Report::default();
    for path in paths {
        if let Err(error) = compiler.open_file(path) {
            let broken = Broken::of(sources, path, &error);
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
    Ok((compiler.descriptor_pool(), files.collect()))
}

fn dirs(sources: &Sources) -> impl Iterator<Item = &Path> {
    sources.protos.iter().chain(&sources.includes).map(PathBuf::as_path)
}

/// `import "outbox/options.proto";` needs no copy of the file.
struct OptionsResolver;

impl FileResolver for OptionsResolver {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == OPTIONS {
            File::from_source(name, include_str!("../proto/outbox/options.proto"))
        } else {
            Err(protox::Error::file_not_found(name))
        }
    }
}

/// The file an error is about: the one that was opened, or one that it imports.
struct Broken {
    shown: String,
    text: String,
    /// Where imports are looked up, for people.
    dirs: String,
}

impl Broken {
    fn of(sources: &Sources, opened: &Path, error: &protox::Error) -> Self {
        let imported =
            error.file().and_then(|name| dirs(sources).map(|dir| dir.join(name)).find(|path| path.is_file()));
        let path = imported.as_deref().unwrap_or(opened);
        Self {
            shown: path.display().to_string(),
            text: std::fs::read(path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .unwrap_or_default(),
            dirs: dirs(sources).map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(", "),
        }
    }

    fn findings(&self, error: &protox::Error) -> Vec<Finding> {
        let related = error.related().into_iter().flatten();
        std::iter::once(error as &dyn Diagnostic).chain(related).map(|error| self.finding(error)).collect()
    }

    fn finding(&self, error: &dyn Diagnostic) -> Finding {
        let message = error.to_string();
        // Of two labels the first is what came first, and is right.
        let label = error.labels().and_then(Iterator::last);
        let place = match label {
            Some(label) => self.place(label.offset(), label.len()),
            None => self.unlabelled(&message),
        };
        let hint = error.help().map_or_else(|| self.hint(&message), |help| help.to_string());
        Finding::error(place, message, hint)
    }

    fn place(&self, offset: usize, len: usize) -> Place {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Place { file: self.shown.clone(), line, column, width: len }
    }

    fn unlabelled(&self, message: &str) -> Place {
        if message.contains("reached end of file") {
            let text = self.text.trim_end();
            return self.place(text.len() - text.chars().next_back().map_or(0, char::len_utf8), 1);
        }
        // An import cycle, `a -> b -> a`: some import of this file is part of it.
        let imports = message.split([' ', ':']).filter(|word| word.ends_with(".proto"));
        let import = imports.filter_map(|name| self.text.find(&format!("\"{name}\""))).next();
        import.map_or_else(|| Place::start_of(&self.shown), |at| self.place(at, 0))
    }

    fn hint(&self, message: &str) -> String {
        let hints = [
            ("import '", "imports are looked up below"),
            ("import cycle", "move what both need into a file of its own"),
            ("'outbox.", "add `import \"outbox/options.proto\";` at the top: no copy of the file is needed"),
            ("is not defined", "define it, or import the file that does"),
            ("reached end of file", "a brace, a quote or a semicolon is missing: look back from the end"),
            (
                "but found",
                "look at this line and the end of the one before: statements end in `;`, blocks in `}`",
            ),
            ("must be 0", "begin it with a value …_UNSPECIFIED = 0;"),
            ("required fields", "remove `required`: in proto3 every field may be missing"),
            ("conflicts with", "give one of them another name"),
            ("defined twice", "give one of them another name"),
            ("already defined", "give one of them another name"),
            ("number", "give it a number of its own, from 1 to 536870911, that no field has or had"),
            ("utf-8", "save the file as UTF-8"),
            ("shadowed", "one directory of proto files has what another one has: name only one of them"),
        ];
        match hints.into_iter().find(|(part, _)| message.contains(part)) {
            Some(("import '", hint)) => {
                format!("{hint} {}: move it there, or pass its directory with --include", self.dirs)
            }
            Some((_, hint)) => hint.to_owned(),
            None => "see the language guide: protobuf.dev/programming-guides/proto3".to_owned(),
        }
    }
}
