//! YAML as a tree in which every key and value has its line. Aliases share their target, so a tree is never larger than its
//! text.

use std::collections::HashMap;
use std::rc::Rc;

use serde_yaml::granit_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, Tag, options};

#[derive(Clone)]
pub(crate) enum Node {
    Null,
    Bool,
    Int(i64),
    Float,
    Text(String),
    List(Vec<Placed>),
    Map(Vec<(Key, Placed)>),
}

/// A position; line and column are counted from 1.
#[derive(Clone, Copy)]
pub(crate) struct At {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

#[derive(Clone)]
pub(crate) struct Placed {
    pub(crate) node: Rc<Node>,
    pub(crate) at: At,
}

#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) name: String,
    pub(crate) at: At,
}

impl Node {
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Node::Null => "nothing",
            Node::Bool => "true or false",
            Node::Int(_) | Node::Float => "a number",
            Node::Text(_) => "a text",
            Node::List(_) => "a list",
            Node::Map(_) => "a map",
        }
    }
}

pub(crate) struct YamlError {
    pub(crate) at: At,
    pub(crate) message: String,
    pub(crate) hint: &'static str,
}

pub(crate) fn parse(text: &str) -> Result<Placed, YamlError> {
    let options = options! { emit_comments: false, emit_unresolved_aliases: true };
    let mut builder = Builder::default();
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event.map_err(|error| unreadable(&error))?;
        builder.take(event, span)?;
    }
    Ok(builder.root.unwrap_or(Placed { node: Rc::new(Node::Null), at: At { line: 1, column: 1 } }))
}

fn unreadable(error: &ScanError) -> YamlError {
    if error.info().contains("limit exceeded") {
        let message = "lists and maps stand in each other more than 255 deep";
        return refused(at(*error.marker()), message, "an event has a list of subscribers, and no more");
    }
    let hint = "indent with spaces, and quote names: name: 'event_hoge_updated'";
    refused(at(*error.marker()), format!("this is not valid YAML: {}", error.info()), hint)
}

/// A list or a map that has not ended yet.
struct Open {
    at: At,
    anchor: usize,
    items: Vec<Placed>,
    /// Only for a map, where every other item is a key.
    keys: Option<Vec<Key>>,
}

#[derive(Default)]
struct Builder {
    root: Option<Placed>,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
}

impl Builder {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), YamlError> {
        let at = at(span.start);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                return Err(refused(at, "the file has a second document", "remove the line `---` before it"));
            }
            Event::Scalar(text, style, anchor, tag) => {
                untagged(at, tag.as_deref())?;
                self.scalar(&text, style, anchor, at)?;
            }
            Event::SequenceStart(_, anchor, tag) => {
                untagged(at, tag.as_deref())?;
                self.begin(at, anchor, None)?;
            }
            Event::MappingStart(_, anchor, tag) => {
                untagged(at, tag.as_deref())?;
                self.begin(at, anchor, Some(Vec::new()))?;
            }
            Event::SequenceEnd | Event::MappingEnd => self.end()?,
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.add(Placed { node, at }, 0)?,
                None => {
                    return Err(refused(
                        at,
                        "an alias stands in what its anchor names",
                        "write it out there",
                    ));
                }
            },
            Event::UnresolvedAlias(name) => {
                let message = format!("there is no anchor `&{name}` before this");
                return Err(refused(at, message, "write the value out, or its anchor above"));
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, at: At, anchor: usize, keys: Option<Vec<Key>>) -> Result<(), YamlError> {
        self.no_key(at)?;
        self.open.push(Open { at, anchor, items: Vec::new(), keys });
        Ok(())
    }

    fn end(&mut self) -> Result<(), YamlError> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let node = match open.keys {
            Some(keys) => Node::Map(keys.into_iter().zip(open.items).collect()),
            None => Node::List(open.items),
        };
        self.add(Placed { node: Rc::new(node), at: open.at }, open.anchor)
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, anchor: usize, at: At) -> Result<(), YamlError> {
        if let Some(Open { items, keys: Some(keys), .. }) = self.open.last_mut()
            && keys.len() == items.len()
        {
            if text == "<<" {
                return Err(refused(
                    at,
                    "`<<` is a merge for some readers and a key for others",
                    "write the keys out, or give the whole map an anchor",
                ));
            }
            if let Some(first) = keys.iter().find(|key| key.name == text) {
                let message =
                    format!("`{text}` is written twice in one map, first on line {}", first.at.line);
                return Err(refused(
                    at,
                    message,
                    "keep one of them: some readers take the first, others the last",
                ));
            }
            keys.push(Key { name: text.to_owned(), at });
            return Ok(());
        }
        let node = if style == ScalarStyle::Plain { resolved(text) } else { Node::Text(text.to_owned()) };
        self.add(Placed { node: Rc::new(node), at }, anchor)
    }

    fn add(&mut self, placed: Placed, anchor: usize) -> Result<(), YamlError> {
        self.no_key(placed.at)?;
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&placed.node));
        }
        match self.open.last_mut() {
            Some(open) => open.items.push(placed),
            None => self.root = Some(placed),
        }
        Ok(())
    }

    /// Lists, maps and aliases can't be keys.
    fn no_key(&self, at: At) -> Result<(), YamlError> {
        match self.open.last() {
            Some(Open { items, keys: Some(keys), .. }) if keys.len() == items.len() => Err(refused(
                at,
                "a key is not a text",
                "write a word and a colon: name: 'event_hoge_updated'",
            )),
            _ => Ok(()),
        }
    }
}

/// Words that YAML 1.1 reads as booleans are not texts here, because Terraform reads them as booleans.
fn resolved(text: &str) -> Node {
    const BOOLS: [&str; 8] = ["y", "n", "yes", "no", "true", "false", "on", "off"];
    let capitalized = |word: &str| word[..1].to_uppercase() + &word[1..];
    let is = |word: &str| text == word || text == capitalized(word) || text == word.to_uppercase();
    if text.is_empty() || text == "~" || is("null") {
        Node::Null
    } else if BOOLS.iter().any(|word| is(word)) {
        Node::Bool
    } else if let Ok(number) = text.parse() {
        Node::Int(number)
    } else if text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.parse::<f64>().is_ok()
    {
        Node::Float
    } else {
        Node::Text(text.to_owned())
    }
}

fn untagged(at: At, tag: Option<&Tag>) -> Result<(), YamlError> {
    match tag {
        Some(tag) => {
            let message =
                format!("the tag `{}` is read differently by different readers of YAML", tag.original());
            Err(refused(at, message, "remove it"))
        }
        None => Ok(()),
    }
}

fn refused(at: At, message: impl Into<String>, hint: &'static str) -> YamlError {
    YamlError { at, message: message.into(), hint }
}

fn at(marker: Marker) -> At {
    At { line: marker.line().max(1), column: marker.col() + 1 }
}
