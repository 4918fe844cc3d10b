//! `outbox proto`: the file of the options, for compilers that need a copy.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use outbox_contract::{OPTIONS, OPTIONS_TEXT};

use crate::stopped::Stopped;
use crate::terminal::write;

const BUF: &str = "# A module of its own for buf. Do not edit it: `outbox proto --out` writes it.
version: v2
modules:
  - path: .
    lint:
      ignore:
        - outbox
";
const GO_PACKAGE: &str = "option go_package = \"";

/// Prints outbox/options.proto, or writes it as a module for buf and protoc.
///
/// `outbox check`, outbox-build and worker need no copy: they know `import "outbox/options.proto"`. buf, protoc and the
/// generators for other languages need one.
///
/// Write it outside of the directories that --proto names, or at the root of one: --out proto.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit status: 0 printed or written; 2 unusable arguments, or the directory can't be written.\n\nFor buf: outbox proto --out third_party/outbox, and in your buf.yaml below `modules`:\n  - path: third_party/outbox\n    lint: { ignore: [third_party/outbox] }\nFor protoc: outbox proto --out third_party/outbox, and protoc -I third_party/outbox …"
)]
pub(crate) struct Args {
    /// Writes outbox/options.proto and buf.yaml below this directory, instead of printing.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// The Go package of the generated code: where it is imported from. All modules of one program need the same.
    #[arg(long, value_name = "PATH")]
    go_package: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode, Stopped> {
    let text = options(args.go_package.as_deref())?;
    match &args.out {
        None => write(text.trim_end())?,
        Some(dir) => {
            keeps_what_is_there(dir)?;
            put(&dir.join(OPTIONS), &text)?;
            put(&dir.join("buf.yaml"), BUF)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A buf.yaml or a number of one's own is not written over.
fn keeps_what_is_there(dir: &Path) -> Result<(), Stopped> {
    let (buf, options) = (dir.join("buf.yaml"), dir.join(OPTIONS));
    let text = |path: &Path| std::fs::read_to_string(path).ok();
    if text(&buf).is_some_and(|text| text.lines().next() != BUF.lines().next()) {
        return Err(Stopped::unusable(
            format!("{} is there, and not of this command: nothing was written", buf.display()),
            format!("pass another --out, as third_party/outbox; or: outbox proto > {}", options.display()),
        ));
    }
    if text(&options).is_some_and(|text| numbers(&text) != numbers(OPTIONS_TEXT)) {
        return Err(Stopped::unusable(
            format!("{} is there, with other numbers: nothing was written", options.display()),
            "keep it, if its numbers are meant; otherwise remove it first",
        ));
    }
    Ok(())
}

/// The lines that give the options their numbers.
fn numbers(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| line.starts_with("bool ")).collect()
}

fn options(go_package: Option<&str>) -> Result<String, Stopped> {
    let Some(package) = go_package else { return Ok(OPTIONS_TEXT.to_owned()) };
    if package.is_empty() || !package.chars().all(|c| c.is_ascii_alphanumeric() || "./_-;~".contains(c)) {
        return Err(Stopped::unusable(
            "--go-package is not an import path of Go".to_owned(),
            "write one as in example.com/company/gen/outbox",
        ));
    }
    let lines = OPTIONS_TEXT.lines().map(|line| match line.starts_with(GO_PACKAGE) {
        true => format!("{GO_PACKAGE}{package}\";\n"),
        false => format!("{line}\n"),
    });
    Ok(lines.collect())
}

fn put(path: &Path, text: &str) -> Result<(), Stopped> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let failed = |error: std::io::Error| {
        Stopped::unusable(format!("failed to write {}: {error}", path.display()), "pass --out DIR")
    };
    std::fs::create_dir_all(parent).map_err(failed)?;
    std::fs::write(path, text).map_err(failed)?;
    write(&format!("wrote {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a file of another origin is not written over, and one of this command is.
    #[test]
    fn nothing_of_others_is_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let args = Args { out: Some(dir.path().to_owned()), go_package: None };
        let again = || run(&args).map_err(|stopped| stopped.problem);
        assert!(again().is_ok() && again().is_ok());
        let options = dir.path().join(OPTIONS);
        let older = OPTIONS_TEXT.replace("an event may say", "an event said");
        std::fs::write(&options, older).unwrap();
        assert!(again().is_ok(), "of a version before");
        let renumbered = OPTIONS_TEXT.replace("93914932", "50001");
        std::fs::write(&options, &renumbered).unwrap();
        assert!(again().unwrap_err().contains("with other numbers"));
        assert_eq!(std::fs::read_to_string(&options).unwrap(), renumbered);
        std::fs::remove_file(&options).unwrap();
        std::fs::write(dir.path().join("buf.yaml"), "version: v2\n").unwrap();
        assert!(again().unwrap_err().contains("not of this command"));
        assert_eq!(std::fs::read_to_string(dir.path().join("buf.yaml")).unwrap(), "version: v2\n");
        assert!(!options.exists());
    }

    /// Guards: the Go package can be chosen, and nothing else of the file changes.
    #[test]
    fn only_the_go_package_changes() {
        let text = options(Some("example.com/gen/outbox;outboxpb")).unwrap();
        let changed: Vec<&str> =
            text.lines().zip(OPTIONS_TEXT.lines()).filter(|(a, b)| a != b).map(|(a, _)| a).collect();
        assert_eq!(changed, ["option go_package = \"example.com/gen/outbox;outboxpb\";"]);
        assert_eq!(text.lines().count(), OPTIONS_TEXT.lines().count());
        assert!(options(Some("a\"; option x = \"")).is_err() && options(Some("")).is_err());
    }
}
