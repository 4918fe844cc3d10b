//! The guide in `docs/guide/`: each command in it runs in a folder outside of the repository, with nothing of Outbox but the files of a
//! release, and says what the page shows.
//! `docs/guide/README.md` tells readers how a page is to be read. This test reads it in the same way.

mod expected; // what a page shows, compared with what a command said
mod folder; // the reader's folder
mod page; // a page of Markdown as steps
mod reader; // goes through a page
mod terminal; // a command that goes on

use testkit::tools::{self, ToolError};

use crate::world::shared_turn;
use page::Page;
use reader::Reader;

/// The pages in their order, with the number of their blocks that can't be run here. Each of those says why.
const PAGES: [(&str, usize); 5] = [
    ("1-first-event.md", 0),
    ("2-in-your-tests.md", 1),
    ("3-on-aws.md", 2),
    ("4-in-production.md", 1),
    ("5-when-it-goes-wrong.md", 0),
];

/// Guards the guide: the first page, from an empty folder to a repaired event.
#[tokio::test(flavor = "multi_thread")]
async fn page_1_the_first_event() {
    follow(1).await;
}

/// Guards the guide: the second page, tests of a service.
#[tokio::test(flavor = "multi_thread")]
async fn page_2_in_your_tests() {
    folder::remove_crates_of_former_folders();
    follow(2).await;
}

/// Guards the guide: the third page, what can be tried of AWS without an account.
#[tokio::test(flavor = "multi_thread")]
async fn page_3_on_aws() {
    follow(3).await;
}

/// Guards the guide: the fourth page, relay and worker with roles of their own.
#[tokio::test(flavor = "multi_thread")]
async fn page_4_in_production() {
    follow(4).await;
}

/// Guards the guide: the fifth page, outages and their repair.
#[tokio::test(flavor = "multi_thread")]
async fn page_5_when_it_goes_wrong() {
    follow(5).await;
}

/// Guards the guide: no page has more blocks that are not run than it is known for, each page is short, and its index names it.
#[test]
fn nearly_every_block_is_run() {
    let index = page::text("README.md");
    for (name, not_run) in PAGES {
        let page = Page::read(name);
        let left_out: Vec<String> =
            page.not_run.iter().map(|block| format!("{name}:{}: {}", block.line, block.reason)).collect();
        assert_eq!(left_out.len(), not_run, "{name}: blocks that are not run: {left_out:#?}");
        assert!((60..=170).contains(&page.lines), "{name} has {} lines", page.lines);
        assert!(page.commands() >= 5, "{name} has {} commands", page.commands());
        assert!(index.contains(&format!("({name})")), "docs/guide/README.md does not name {name}");
    }
    let readme = std::fs::read_to_string(testkit::process::root().join("README.md")).unwrap();
    assert!(readme.contains("(docs/guide/README.md)"), "README.md does not name the guide");
}

/// Goes through a page, as a reader does who has the files of the pages before it.
async fn follow(number: usize) {
    let name = PAGES[number - 1].0;
    if let Err(missing) = installed(number) {
        return not_tested(&format!("docs/guide/{name}"), &missing.to_string());
    }
    let _turn = tokio::task::spawn_blocking(shared_turn).await.unwrap();
    let mut reader = tokio::task::spawn_blocking(Reader::new).await.unwrap();
    if number > 1 {
        reader.install();
    }
    for (name, _) in &PAGES[..number - 1] {
        reader.take_files_of(&Page::read(name));
    }
    reader.follow(&Page::read(name)).await;
    reader.end().await;
}

/// What a reader of the page has on a machine.
fn installed(number: usize) -> Result<(), ToolError> {
    for program in ["python3", "git", "curl", "openssl"] {
        tools::debian(program, program)?;
    }
    if number == 2 {
        for package in [tools::python_psycopg, tools::python_protobuf, tools::python_protoc] {
            package()?;
        }
    }
    if number == 3 {
        tools::debian("terraform", "terraform")?;
    }
    Ok(())
}

/// Not eprintln: the output of a passing test is not shown.
fn not_tested(what: &str, why: &str) {
    use std::io::Write;
    assert!(std::env::var_os("CI").is_none(), "in CI {what} must be tested: {why}");
    let _ = writeln!(std::io::stderr(), "\n!!! NOT TESTED: {what}, because {why}\n");
}
