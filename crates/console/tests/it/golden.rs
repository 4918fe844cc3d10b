//! Pages as text that a person reads, compared with what they said before.

use std::path::Path;

/// Nothing, or what differs. With `BLESS` it is written down.
pub(crate) fn read_as_before(name: &str, page: &str) -> String {
    let (_, main) = page.split_once("<main").unwrap();
    let read = words(main.split("</main>").next().unwrap());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(format!("{name}.txt"));
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, &read).unwrap();
    } else if read != expected {
        return format!("\n{}\nexpected:\n{expected}\nbut it reads:\n{read}\n", file.display());
    }
    String::new()
}

/// The text of a page as it is read, a block on each line. What a form sends unseen is left out.
fn words(html: &str) -> String {
    let blocks = [
        "p", "h1", "h2", "h3", "li", "tr", "dt", "dd", "label", "button", "text", "section", "table", "code",
        "form",
    ];
    let mut out = String::new();
    for part in html.split('<').skip(1) {
        let (tag, rest) = part.split_once('>').unwrap_or((part, ""));
        let name = tag.trim_start_matches('/').split([' ', '>']).next().unwrap_or_default();
        if blocks.contains(&name) {
            out.push('\n');
        } else if matches!(name, "td" | "th" | "option" | "title") {
            out.push_str(" | ");
        }
        if tag.starts_with("input") {
            let of = |what: &str| {
                let value = tag.split_once(&format!("{what}=\"")).map_or("", |(_, rest)| rest);
                value.split('"').next().unwrap_or_default().to_owned()
            };
            if of("type") != "hidden" {
                out.push_str(&format!("[{}: {}]", of("name"), of("value")));
            }
        }
        out.push_str(rest);
    }
    let text = out.replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
    let lines = text.lines().map(|line| {
        let line = line.split_whitespace().collect::<Vec<_>>().join(" ");
        line.trim_matches(['|', ' ']).to_owned()
    });
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n") + "\n"
}
