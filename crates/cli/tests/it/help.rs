use std::process::Command;

/// Guards: `--help` is the manual of every command: what it does, its exit status, and no value of the environment that may
/// hold a secret.
#[test]
fn help_teaches_and_keeps_secrets() {
    for command in [
        "",
        "check",
        "status",
        "why",
        "dlq",
        "dlq list",
        "dlq show",
        "dlq redrive",
        "dlq drop",
        "dlq summary",
        "find",
        "queue",
        "queue list",
        "queue retry",
        "queue give-up",
        "queue move",
        "queue drop",
        "parked",
        "parked list",
        "parked retry",
        "parked drop",
        "replay",
        "doctor",
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_outbox"))
            .args(command.split_whitespace())
            .arg("--help")
            .env("DATABASE_URL", "postgres://me:hunter2@localhost/db")
            .env("OUTBOX_SOURCES", "a=postgres://me:hunter2@localhost/db")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && said.contains("Exit status: 0 "), "{command}: {said}");
        assert!(!said.contains("hunter2"), "{said}");
    }
}
