//! Which file imports which, within a crate: read from `use` and from paths that begin with `crate`, `self` or `super`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;

/// A module, as its path from the crate's root; the root has none.
type Module = Vec<String>;

/// The files of a crate by module, and what each uses.
struct Crate {
    modules: BTreeMap<Module, PathBuf>,
    uses: BTreeMap<Module, BTreeSet<Module>>,
    /// Names that a module hands on: `pub use child::Name`.
    handed_on: BTreeMap<Module, Module>,
}

/// Circles of files in the crate whose `src` this is. Each is written as `a.rs -> b.rs -> a.rs`.
pub(crate) fn circles(src: &Path) -> Vec<String> {
    let mut found = Crate { modules: BTreeMap::new(), uses: BTreeMap::new(), handed_on: BTreeMap::new() };
    for root in ["lib.rs", "main.rs"] {
        if src.join(root).exists() {
            found.read(&src.join(root), src, &[]);
        }
    }
    let edges = found.edges();
    let mut circles = BTreeSet::new();
    for start in edges.keys() {
        circles.extend(way_back(&edges, start));
    }
    circles.into_iter().map(|circle| found.written(&circle)).collect()
}

impl Crate {
    /// Reads a file and those of its modules. The modules of `file` stand in `folder`.
    fn read(&mut self, file: &Path, folder: &Path, module: &[String]) {
        let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        self.modules.entry(module.to_vec()).or_insert_with(|| file.to_owned());
        let mut reading = Reading { module, uses: BTreeSet::new(), handed_on: Vec::new(), inner: Vec::new() };
        reading.visit_file(&parsed);
        let Reading { uses, handed_on, inner, .. } = reading;
        self.uses.entry(module.to_vec()).or_default().extend(uses);
        self.handed_on.extend(handed_on);
        for name in inner {
            let beside = folder.join(&name).with_extension("rs");
            let path = if beside.exists() { beside } else { folder.join(&name).join("mod.rs") };
            self.read(&path, &folder.join(&name), &[module, &[name]].concat());
        }
    }

    /// File to file. A name that a module only hands on counts as its owner's.
    fn edges(&self) -> BTreeMap<Module, BTreeSet<Module>> {
        let to_files = |from: &Module, paths: &BTreeSet<Module>| {
            paths.iter().filter_map(|path| self.owner(path)).filter(|to| to != from).collect()
        };
        self.uses.iter().map(|(from, paths)| (from.clone(), to_files(from, paths))).collect()
    }

    fn owner(&self, path: &[String]) -> Option<Module> {
        let mut path = path.to_vec();
        // A module and what it hands on may share a name: the module stays what it is.
        let is_name = |name: &Module| !self.modules.contains_key(name);
        while let Some((name, target)) =
            self.handed_on.iter().find(|(name, _)| is_name(name) && path.starts_with(name))
        {
            path = [target.as_slice(), &path[name.len()..]].concat();
        }
        (0..=path.len())
            .rev()
            .map(|length| path[..length].to_vec())
            .find(|part| self.modules.contains_key(part))
    }

    fn written(&self, circle: &[Module]) -> String {
        let names = circle.iter().map(|module| self.modules[module].file_name().unwrap().to_string_lossy());
        names.collect::<Vec<_>>().join(" -> ")
    }
}

/// The shortest way from a file back to itself through files that come after it by name: each circle is found at its first.
fn way_back(edges: &BTreeMap<Module, BTreeSet<Module>>, start: &Module) -> Option<Vec<Module>> {
    let mut ways = std::collections::VecDeque::from([vec![start.clone()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in edges.get(way.last()?).into_iter().flatten() {
            if next == start {
                return Some([way, vec![start.clone()]].concat());
            }
            if next > start && seen.insert(next.clone()) {
                ways.push_back([way.as_slice(), std::slice::from_ref(next)].concat());
            }
        }
    }
    None
}

struct Reading<'a> {
    module: &'a [String],
    uses: BTreeSet<Module>,
    handed_on: Vec<(Module, Module)>,
    /// Modules in files of their own.
    inner: Vec<String>,
}

impl Reading<'_> {
    /// The path from the crate's root, if it begins in this crate.
    fn resolved(&self, segments: &[String]) -> Option<Module> {
        let supers = segments.iter().take_while(|segment| *segment == "super").count();
        let rest = &segments[supers..];
        match segments.first()?.as_str() {
            "crate" => Some(segments[1..].to_vec()),
            "self" => Some([self.module, &segments[1..]].concat()),
            "super" => Some([&self.module[..self.module.len().checked_sub(supers)?], rest].concat()),
            first if self.inner.iter().any(|inner| inner == first) => Some([self.module, segments].concat()),
            _ => None,
        }
    }

    fn tree(&mut self, before: &[String], tree: &syn::UseTree, is_public: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.tree(&with(&path.ident), &path.tree, is_public),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.tree(before, tree, is_public));
            }
            syn::UseTree::Glob(_) => self.uses.extend(self.resolved(before)),
            syn::UseTree::Name(name) if name.ident == "self" => self.uses.extend(self.resolved(before)),
            syn::UseTree::Name(name) => self.name(&with(&name.ident), &name.ident, is_public),
            syn::UseTree::Rename(renamed) => self.name(&with(&renamed.ident), &renamed.rename, is_public),
        }
    }

    fn name(&mut self, path: &[String], known_as: &syn::Ident, is_public: bool) {
        let Some(path) = self.resolved(path) else { return };
        if is_public {
            self.handed_on.push(([self.module, &[known_as.to_string()]].concat(), path));
        } else {
            self.uses.insert(path);
        }
    }
}

impl<'ast> Visit<'ast> for Reading<'_> {
    fn visit_file(&mut self, file: &'ast syn::File) {
        let in_files = file.items.iter().filter_map(|item| match item {
            syn::Item::Mod(item) if item.content.is_none() && !for_tests(&item.attrs) => {
                Some(item.ident.to_string())
            }
            _ => None,
        });
        self.inner = in_files.collect();
        syn::visit::visit_file(self, file);
    }

    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !for_tests(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        if !for_tests(&item.attrs) {
            self.tree(&[], &item.tree, !matches!(item.vis, syn::Visibility::Inherited));
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<_> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.uses.extend(self.resolved(&segments));
        }
        syn::visit::visit_path(self, path);
    }
}

fn for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|when| when.is_ident("test"))
    })
}
