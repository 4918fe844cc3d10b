//! A page of the guide as steps: files to write, and commands with the output that is shown below them.

use testkit::process;

/// What precedes a block that can't be run here.
const NOT_RUN: &str = "<!-- not run: ";

pub(super) struct Page {
    pub(super) name: String,
    pub(super) lines: usize,
    pub(super) steps: Vec<Step>,
    pub(super) not_run: Vec<NotRun>,
}

pub(super) struct NotRun {
    pub(super) line: usize,
    pub(super) reason: String,
}

pub(super) enum Step {
    File(File),
    Command(Command),
}

/// A block below a line that ends with the file's name.
pub(super) struct File {
    pub(super) path: String,
    pub(super) text: String,
    /// The line begins with "Add to": what the file has stays.
    pub(super) is_added: bool,
}

/// A line after a prompt, and the lines below it.
pub(super) struct Command {
    pub(super) line: usize,
    pub(super) typed: Typed,
    pub(super) shown: Vec<String>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Typed {
    /// `$ COMMAND`, with a comment `# exit code N` if it does not end with 0.
    Here { command: String, code: i32 },
    /// `NAME$ COMMAND`: it goes on in a terminal of that name.
    Stays { terminal: String, command: String },
    /// `NAME$ …`: what has appeared there since.
    Appears { terminal: String },
    /// `NAME$ ^C`
    Ends { terminal: String },
}

/// The text of a file of the guide.
pub(super) fn text(name: &str) -> String {
    let path = process::root().join("docs/guide").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

impl Page {
    pub(super) fn read(name: &str) -> Self {
        Self::parse(name, &text(name))
    }

    fn parse(name: &str, text: &str) -> Self {
        let lines: Vec<&str> = text.lines().collect();
        let mut page = Self { name: name.to_owned(), lines: lines.len(), steps: vec![], not_run: vec![] };
        let mut before = "";
        let mut at = 0;
        while at < lines.len() {
            let Some(language) = lines[at].strip_prefix("```") else {
                before = if lines[at].is_empty() { before } else { lines[at] };
                at += 1;
                continue;
            };
            let length = lines[at + 1..].iter().position(|line| *line == "```");
            let length = length.unwrap_or_else(|| panic!("{name}:{}: the block does not end", at + 1));
            page.add(before, language, at + 2, &lines[at + 1..at + 1 + length]);
            at += length + 2;
            before = "";
        }
        page
    }

    /// `line` is that of the block's first line.
    fn add(&mut self, before: &str, language: &str, line: usize, block: &[&str]) {
        if let Some(reason) = before.strip_prefix(NOT_RUN) {
            let reason = reason.trim_end_matches("-->").trim().to_owned();
            assert!(reason.len() > 10, "{}:{line}: say why this is not run", self.name);
            self.not_run.push(NotRun { line, reason });
        } else if language == "console" {
            self.steps.extend(commands(&self.name, line, block).into_iter().map(Step::Command));
        } else if let Some(path) = path(before) {
            let text = block.join("\n") + "\n";
            let is_added = before.starts_with("Add to");
            self.steps.push(Step::File(File { path: path.to_owned(), text, is_added }));
        } else {
            panic!(
                "{}:{line}: neither a ```console block nor a file: end the line before it with \"`PATH`:\"",
                self.name
            );
        }
    }

    pub(super) fn commands(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step, Step::Command(_))).count()
    }
}

/// Of a line that ends with "`PATH`:".
fn path(line: &str) -> Option<&str> {
    line.strip_suffix("`:")?.rsplit_once('`').map(|(_, path)| path)
}

fn commands(page: &str, first: usize, block: &[&str]) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    let mut is_continued = false;
    for (at, text) in block.iter().enumerate() {
        if is_continued {
            let (Typed::Here { command, .. } | Typed::Stays { command, .. }) =
                &mut commands.last_mut().expect("continued").typed
            else {
                panic!("{page}:{}: only a command has several lines", first + at)
            };
            *command = format!("{command}\n{text}");
            is_continued = text.ends_with('\\');
        } else if let Some(typed) = typed(text) {
            is_continued = text.ends_with('\\');
            commands.push(Command { line: first + at, typed, shown: vec![] });
        } else {
            let last = commands.last_mut();
            let last = last.unwrap_or_else(|| panic!("{page}:{first}: the block has no command"));
            last.shown.push((*text).to_owned());
        }
    }
    commands
}

fn typed(text: &str) -> Option<Typed> {
    let (terminal, command) = text.split_once("$ ")?;
    if !terminal.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return None;
    }
    let terminal = terminal.to_owned();
    Some(match (terminal.as_str(), command) {
        ("", command) => match command.rsplit_once("# exit code ") {
            Some((command, code)) => {
                Typed::Here { command: command.trim().to_owned(), code: code.parse().expect("a number") }
            }
            None => Typed::Here { command: command.to_owned(), code: 0 },
        },
        (_, "…") => Typed::Appears { terminal },
        (_, "^C") => Typed::Ends { terminal },
        (_, command) => Typed::Stays { terminal, command: command.to_owned() },
    })
}

/// Guards the guide: blocks are read as the index of the guide says.
#[test]
fn a_page_is_read_as_a_reader_reads_it() {
    let page = Page::parse(
        "x.md",
        "In `a/b.yaml`:\n\n```yaml\nx: 1\n```\n\nAdd to `c`:\n```\ny\n```\n\n```console\n$ one && \\\n  two    # exit code 3\nsaid\n\n\
         dev$ run it\ndev$ …\nok\ndev$ ^C\n```\n\n<!-- not run: there is no account here -->\n```console\n$ aws\n```\n",
    );
    let Step::File(file) = &page.steps[0] else { panic!("a file") };
    assert_eq!((file.path.as_str(), file.text.as_str(), file.is_added), ("a/b.yaml", "x: 1\n", false));
    assert!(matches!(&page.steps[1], Step::File(file) if file.path == "c" && file.is_added));
    let commands: Vec<&Command> = page
        .steps
        .iter()
        .filter_map(|step| if let Step::Command(command) = step { Some(command) } else { None })
        .collect();
    let terminal = || "dev".to_owned();
    assert_eq!(commands[1].typed, Typed::Stays { terminal: terminal(), command: "run it".to_owned() });
    assert_eq!(commands[2].typed, Typed::Appears { terminal: terminal() });
    assert_eq!(commands[3].typed, Typed::Ends { terminal: terminal() });
    assert_eq!(
        (commands[0].line, commands[0].shown.as_slice()),
        (13, ["said".to_owned(), String::new()].as_slice())
    );
    assert_eq!((page.commands(), page.not_run[0].line, page.lines), (4, 25, 26));
}
