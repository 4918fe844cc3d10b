//! Who may do what. Dropping and payloads are only for those who are named.

use std::str::FromStr;

use super::Viewer;

/// `repair=group:sre`, `destroy=ann@example.com`, `payload=local`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    what: Can,
    whom: Whom,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Can {
    View,
    /// What can be taken back.
    Repair,
    /// What can't: to drop.
    Destroy,
    Payload,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Whom {
    /// The browser that opened the printed address. No header and no token can say that it is this one.
    Local,
    Group(String),
    Name(String),
}

#[derive(Debug, Clone, Default)]
pub struct Allow {
    rules: Vec<Rule>,
    read_only: bool,
}

impl Allow {
    /// With `read_only` all may only look, whatever the rules say.
    pub fn new(rules: Vec<Rule>, read_only: bool) -> Self {
        Self { rules, read_only }
    }

    /// Pure: the viewer with what the rules allow besides. `None` if looking is for others.
    pub(crate) fn apply(&self, viewer: Viewer, is_local: bool) -> Option<Viewer> {
        let fits = |rule: &&Rule| match &rule.whom {
            Whom::Local => is_local,
            Whom::Group(group) => viewer.groups.contains(group),
            Whom::Name(name) => !is_local && *name == viewer.name,
        };
        let is = |what: Can| self.rules.iter().filter(fits).any(|rule| rule.what == what);
        let is_open = !self.rules.iter().any(|rule| rule.what == Can::View);
        let may_look = is_open || is_local || self.rules.iter().any(|rule| fits(&rule));
        let may_repair = viewer.may_repair || is(Can::Repair);
        let (may_destroy, may_see_payloads) = (is(Can::Destroy), is(Can::Payload));
        may_look.then(|| self.limit(Viewer { may_repair, may_destroy, may_see_payloads, ..viewer }))
    }

    /// Pure: with `read_only` without changes and payloads. Who may repair may search, also where nothing can be changed.
    pub(crate) fn limit(&self, viewer: Viewer) -> Viewer {
        let changes = !self.read_only;
        Viewer {
            may_search_keys: viewer.may_search_keys || viewer.may_repair,
            may_repair: changes && viewer.may_repair,
            may_destroy: changes && viewer.may_destroy,
            may_see_payloads: changes && viewer.may_see_payloads,
            ..viewer
        }
    }
}

impl FromStr for Rule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused =
            || format!("`{text}`: write view, repair, destroy or payload, then =NAME, =group:NAME or =local");
        let (what, whom) = text.split_once('=').ok_or_else(refused)?;
        let what = match what {
            "view" => Can::View,
            "repair" => Can::Repair,
            "destroy" => Can::Destroy,
            "payload" => Can::Payload,
            _ => return Err(refused()),
        };
        let whom = match whom.split_once(':') {
            Some(("group", group)) if !group.is_empty() => Whom::Group(group.to_owned()),
            _ if whom == "local" => Whom::Local,
            _ if whom.is_empty() || whom == "group:" => return Err(refused()),
            _ => Whom::Name(whom.to_owned()),
        };
        Ok(Self { what, whom })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allow(rules: &[&str], read_only: bool) -> Allow {
        Allow::new(rules.iter().map(|rule| rule.parse().unwrap()).collect(), read_only)
    }

    /// Guards: only those who are named may drop or see payloads, and a name is no group and no printed address.
    #[test]
    fn a_rule_is_for_those_it_names() {
        let viewer = |name: &str, groups: &[&str], may_repair| Viewer {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            may_repair,
            ..Viewer::default()
        };
        let (ann, sre, boss) =
            (viewer("ann", &[], false), viewer("bob", &["sre"], false), viewer("root", &[], true));
        let all = ["repair=group:sre", "destroy=ann", "payload=local", "destroy=local"];
        let here = viewer("ann", &[], true);
        for (rules, read_only, who, is_local, expected) in [
            (&[][..], false, &ann, false, Some("")),
            (&[], false, &boss, false, Some("sr")),
            (&[], false, &here, true, Some("sr")),
            (&all, false, &ann, false, Some("d")),
            (&all, false, &sre, false, Some("sr")),
            (&all, false, &boss, false, Some("sr")),
            (&all, false, &here, true, Some("srdp")),
            (&all, true, &here, true, Some("s")),
            (&all, true, &boss, false, Some("s")),
            (&all, true, &ann, false, Some("")),
            (&["repair=sre"], false, &sre, false, Some("")),
            (&["repair=group:bob"], false, &sre, false, Some("")),
            (&["payload=local"], false, &viewer("local", &["local"], false), false, Some("")),
            (&["view=group:sre"], false, &ann, false, None),
            (&["view=group:sre"], false, &sre, false, Some("")),
            (&["view=group:sre", "payload=ann"], false, &ann, false, Some("p")),
            (&["view=group:sre"], false, &here, true, Some("sr")),
        ] {
            let may = allow(rules, read_only).apply(who.clone(), is_local).map(|viewer| {
                let may = [
                    (viewer.may_search_keys, "s"),
                    (viewer.may_repair, "r"),
                    (viewer.may_destroy, "d"),
                    (viewer.may_see_payloads, "p"),
                ];
                may.into_iter().filter(|(may, _)| *may).map(|(_, letter)| letter).collect::<String>()
            });
            assert_eq!(may.as_deref(), expected, "{rules:?} {who:?} {is_local} {read_only}");
        }
        for bad in ["", "repair", "repair=", "repair=group:", "drop=ann", "=ann"] {
            assert!(bad.parse::<Rule>().is_err(), "{bad}");
        }
    }
}
