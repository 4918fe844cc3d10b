use crate::root;

fn routes(env: &[(&str, &str)], args: &str) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_outbox"));
    command.env_remove("COLUMNS").env_remove("NO_COLOR").envs(env.iter().copied());
    let output = command.arg("routes").args(args.split_whitespace()).current_dir(root()).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Guards promise 8: without a terminal a row is one line, unless COLUMNS says how wide it may be. Nothing is lost.
#[test]
fn columns_say_how_wide_a_table_may_be() {
    let wide = routes(&[], "");
    assert!(wide.lines().any(|line| line.chars().count() > 80), "{wide}");
    for width in [60, 80] {
        let narrow = routes(&[("COLUMNS", &width.to_string())], "");
        assert!(narrow.lines().all(|line| line.chars().count() <= width), "{width}: {narrow}");
        for word in wide.split_whitespace() {
            assert!(narrow.contains(word), "{word} at {width}: {narrow}");
        }
    }
    assert_eq!(routes(&[("COLUMNS", "0")], ""), wide);
}

/// Guards: colours are only where they are wanted.
#[test]
fn colours_are_only_where_they_are_wanted() {
    assert!(!routes(&[], "").contains('\u{1b}'));
    assert!(routes(&[], "--color always").contains("\u{1b}[2m"));
    assert!(!routes(&[], "--color never").contains('\u{1b}'));
    let plain = routes(&[], "");
    let stripped: String = routes(&[], "--color always").replace("\u{1b}[2m", "").replace("\u{1b}[0m", "");
    assert_eq!(stripped, plain);
}
