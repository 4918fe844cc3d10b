use std::fmt;

/// One mistake: where it is, what it is, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// 1-based.
    pub line: usize,
    /// 1-based.
    pub column: usize,
    pub message: String,
    pub hint: Option<String>,
}

/// Every mistake of one file, in the order of its lines. Displays them with the source line underlined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Findings {
    pub file: String,
    pub list: Vec<Finding>,
    source: Vec<String>,
}

impl Findings {
    pub(crate) fn new(file: &str, text: &str, mut list: Vec<Finding>) -> Self {
        list.sort_by_key(|finding| (finding.line, finding.column));
        Self { file: file.to_owned(), list, source: text.lines().map(str::to_owned).collect() }
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, finding) in self.list.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            writeln!(f, "error: {}", finding.message)?;
            write!(f, "  --> {}:{}:{}", self.file, finding.line, finding.column)?;
            if let Some(source) = self.source.get(finding.line - 1) {
                let gutter = finding.line.to_string();
                let pad = " ".repeat(gutter.len());
                let before = source.chars().take(finding.column - 1).count();
                let word = source.chars().skip(before).take_while(|c| !c.is_whitespace()).count().max(1);
                write!(
                    f,
                    "\n{pad} |\n{gutter} | {source}\n{pad} | {}{}",
                    " ".repeat(before),
                    "^".repeat(word)
                )?;
            }
            if let Some(hint) = &finding.hint {
                write!(f, "\n  = hint: {hint}")?;
            }
        }
        Ok(())
    }
}

impl std::error::Error for Findings {}

/// Why there is no router.
#[derive(Debug)]
pub enum ReadError {
    Io { file: String, source: std::io::Error },
    Findings(Findings),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { file, source } => {
                write!(
                    f,
                    "error: failed to read {file}: {source}\n  pass --router FILE; the README shows what is in it"
                )
            }
            Self::Findings(findings) => findings.fmt(f),
        }
    }
}

impl std::error::Error for ReadError {}
