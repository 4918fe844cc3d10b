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
            put(&dir.join(OPTIONS), &text)?;
            put(&dir.join("buf.yaml"), BUF)?;
        }
    }
    Ok(ExitCode::SUCCESS)
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
