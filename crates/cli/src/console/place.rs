//! The installation that questions of pages are about.

use crate::asked::InUse;
use crate::options::Options;
use crate::repair;

/// What is added to the words of a question.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// For every command but `routes`, which reads one file and needs no installation.
    pub(crate) words: Vec<String>,
    /// For `doctor` alone.
    pub(crate) doctor: Vec<String>,
    pub(crate) router_file: String,
    pub(crate) in_use: InUse,
}

impl Place {
    /// That for which this process was started.
    pub(super) fn of(options: &Options) -> Self {
        Self {
            words: repair::place(),
            doctor: Vec::new(),
            router_file: options.router_file().display().to_string(),
            in_use: InUse::default(),
        }
    }

    /// A question as if it was typed.
    pub(super) fn command(&self, question: &[String]) -> Vec<String> {
        let mut words = vec!["outbox".to_owned()];
        words.extend(question.iter().cloned());
        match question.first().map(String::as_str) {
            Some("routes") => words.push(format!("--router={}", self.router_file)),
            Some("doctor") => words.extend(self.words.iter().chain(&self.doctor).cloned()),
            _ => words.extend(self.words.iter().cloned()),
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 8: each question is asked of the installation, with the options that its command has.
    #[test]
    fn a_question_is_about_the_installation() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let place = Place {
            words: texts(&["--transport=aws"]),
            doctor: texts(&["--proto=p"]),
            router_file: "r.yaml".to_owned(),
            in_use: InUse::default(),
        };
        for (question, command) in [
            (&["why", "1"][..], &["outbox", "why", "1", "--transport=aws"][..]),
            (&["doctor"], &["outbox", "doctor", "--transport=aws", "--proto=p"]),
            (&["routes"], &["outbox", "routes", "--router=r.yaml"]),
        ] {
            assert_eq!(place.command(&texts(question)), command);
        }
    }
}
