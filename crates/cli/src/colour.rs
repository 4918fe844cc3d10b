//! Colours for people. They are removed at the edge, where the output is no terminal or colours are unwanted (`terminal.rs`).

use anstyle::{AnsiColor, Style};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Colour {
    Problem,
    Warning,
    Good,
    Dim,
}

impl Colour {
    const ALL: [Self; 4] = [Self::Problem, Self::Warning, Self::Good, Self::Dim];

    fn style(self) -> Style {
        match self {
            Self::Problem => AnsiColor::Red.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Dim => Style::new().dimmed(),
        }
    }

    /// The text in this colour. Text from others must be safe before.
    pub(crate) fn paint(colour: Option<Self>, text: &str) -> String {
        match colour {
            None => text.to_owned(),
            Some(colour) => {
                let style = colour.style();
                format!("{style}{text}{style:#}")
            }
        }
    }

    /// Whether the text begins with a colour's beginning or end, and how long that is.
    pub(crate) fn code(text: &str) -> Option<usize> {
        let codes = Self::ALL.iter().flat_map(|colour| {
            let style = colour.style();
            [style.render().to_string(), style.render_reset().to_string()]
        });
        codes.filter(|code| text.starts_with(code.as_str())).map(|code| code.len()).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a colour's codes are recognized, and no other sequence.
    #[test]
    fn only_colours_of_ours_are_codes() {
        for colour in Colour::ALL {
            let painted = Colour::paint(Some(colour), "x");
            let code = Colour::code(&painted).unwrap();
            assert_eq!(&painted[code..=code], "x");
            assert_eq!(Colour::code(&painted[code + 1..]), Some(painted.len() - code - 1));
        }
        for other in ["", "x", "\u{1b}[2K", "\u{1b}[8m", "\u{1b}[41m"] {
            assert_eq!(Colour::code(other), None, "{other:?}");
        }
        assert_eq!(Colour::paint(None, "x"), "x");
    }
}
