use std::process::Command;

/// Every command that takes flags.
const COMMANDS: [&str; 42] = [
    "",
    "check",
    "proto",
    "codegen",
    "console",
    "dev",
    "send",
    "routes",
    "status",
    "why",
    "find",
    "queue",
    "queue list",
    "queue retry",
    "queue give-up",
    "queue move",
    "queue drop",
    "dlq",
    "dlq summary",
    "dlq list",
    "dlq show",
    "dlq redrive",
    "dlq drop",
    "parked",
    "parked list",
    "parked retry",
    "parked drop",
    "pause",
    "resume",
    "limit",
    "repair list",
    "repair stop",
    "repair pace",
    "repair pause",
    "repair resume",
    "repair undo",
    "poison",
    "replay",
    "audit",
    "doctor",
    "completions",
    "man",
];
const INSTALLATION: &str = "Which installation (as for relay and worker):";

fn help(command: &str, flag: &str) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_outbox"))
        .args(command.split_whitespace())
        .arg(flag)
        .env_remove("COLUMNS")
        .env("DATABASE_URL", "postgres://me:hunter2@localhost/db")
        .env("OUTBOX_SOURCES", "a=postgres://me:hunter2@localhost/db")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{command}: {said}");
    said
}

/// Guards: `--help` is the manual of every command: what it does, its exit status, and no value of the environment that may
/// hold a secret.
#[test]
fn help_teaches_and_keeps_secrets() {
    for command in COMMANDS.into_iter().filter(|command| *command != "routes") {
        let said = help(command, "--help");
        assert!(said.contains("Exit status: 0 "), "{command}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}

/// Guards promise 8: `-h` has a command's own flags, fits a screen, and says where the shared flags are. `--help` has them.
#[test]
fn short_help_has_the_commands_own_flags() {
    for command in COMMANDS {
        let (short, long) = (help(command, "-h"), help(command, "--help"));
        // For these two the database is a flag of their own.
        let has_database = ["dev", "send"].contains(&command);
        for shared in [INSTALLATION, "--database-url", "--queue-prefix", "--transport"] {
            let is_own = has_database && shared == "--database-url";
            assert!(is_own || !short.contains(shared), "{command}: {short}");
        }
        let shares = long.contains(INSTALLATION);
        assert_eq!(short.contains("--help shows them"), shares, "{command}: {short}");
        assert!(!long.contains("--help shows them"), "{command}: {long}");
        assert!(short.lines().count() <= 50, "{command}: {short}");
        for line in short.lines().chain(long.lines()) {
            assert!(line.chars().count() <= 100, "{command}: {line}");
        }
    }
}

/// Guards promise 8: a flag stands under the heading that says what it is about.
#[test]
fn headings_have_only_their_flags() {
    for command in [
        "dlq list",
        "dlq redrive",
        "dlq drop",
        "queue list",
        "queue retry",
        "queue give-up",
        "parked list",
        "parked retry",
        "parked drop",
    ] {
        let said = help(command, "--help");
        let (own, rest) = said.split_once("\nWhich ").unwrap_or_else(|| panic!("{command}: {said}"));
        let (filters, installation) = rest.split_once(INSTALLATION).unwrap();
        assert!(filters.contains("--code"), "{command}: {said}");
        for flag in
            ["--limit", "--oldest-first", "--format", "--rate", "--dry-run", "--force", "--yes", "--all"]
        {
            let heads = |text: &str| text.lines().any(|line| line.trim_start().starts_with(flag));
            assert!(!heads(filters) && !heads(installation), "{flag} of {command}: {said}");
        }
        assert!(own.contains("--format"), "{command}: {said}");
    }
}

/// Guards promise 8: two commands that share their flags have different help.
#[test]
fn each_command_tells_its_own() {
    let (retry, drop) = (help("parked retry", "--help"), help("parked drop", "--help"));
    assert!(retry.starts_with("Publishes parked events again") && !retry.contains("for good"), "{retry}");
    assert!(drop.starts_with("Drops parked events for good") && !drop.contains("retried event"), "{drop}");
}

/// Guards: each shell gets a script, and each command a manual page.
#[test]
fn shells_and_man_have_their_files() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = help(&format!("completions {shell}"), "--color=never");
        assert!(said.contains("redrive") && said.contains("outbox"), "{shell}: {said}");
    }
    let dir = tempfile::tempdir().unwrap();
    help(&format!("man {}", dir.path().display()), "--color=never");
    let page = std::fs::read_to_string(dir.path().join("outbox-dlq-redrive.1")).unwrap();
    assert!(page.contains("rate") && !page.contains("hunter2"), "{page}");
    for (program, flag) in [("relay", "page-max"), ("worker", "visibility")] {
        let page = std::fs::read_to_string(dir.path().join(format!("{program}.1"))).unwrap();
        let said = help(&format!("completions bash --program {program}"), "--color=never");
        assert!(page.contains(&flag.replace('-', "\\-")) && said.contains(flag), "{program}: {page}");
    }
}

/// Guards promise 8: on SQS a replay takes no rule that would never stop it, and its help says so.
#[test]
fn a_rule_that_can_not_work_is_refused() {
    let line = "replay --since 1h --rpc A/B --run --stop-if-dead 3 --transport aws";
    let said = crate::said(&crate::outbox(&crate::root(), line));
    assert!(said.contains("--stop-if-dead is not possible on SQS") && said.ends_with("exit 2\n"), "{said}");
    assert!(help("replay", "--help").contains("refused"));
}
