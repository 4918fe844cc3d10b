//! The migrations as a script, for administrators who run SQL themselves.

use std::fmt::Write;

use sqlx::migrate::Migration;

/// Those migrations that are newer than `from`, with what else a first one needs.
///
/// It does not wait for another migration, as `migrate` does: the rows of a second run collide.
pub(crate) fn script(table: &str, from: i64, migrations: impl Iterator<Item = Migration>) -> String {
    let newer: Vec<Migration> = migrations.filter(|migration| migration.version > from).collect();
    let mut script = String::new();
    let Some(to) = newer.last().map(|migration| migration.version) else { return script };
    let _ = write!(
        script,
        "-- The schema outbox, from version {from} to {to}. Run it as the schema's owner, once, and stop at the first error:
--   psql --no-psqlrc --set ON_ERROR_STOP=1 --file THIS_FILE

-- These files must not find functions of another schema.
set search_path = pg_catalog, pg_temp;
"
    );
    if from == 0 {
        // As sqlx makes them: a later `relay migrate` reads them.
        let _ = write!(
            script,
            "
create schema if not exists outbox;

create table if not exists {table} (
    version        bigint      primary key,
    description    text        not null,
    installed_on   timestamptz not null default now(),
    success        boolean     not null,
    checksum       bytea       not null,
    execution_time bigint      not null
);
"
        );
    }
    for migration in newer {
        let checksum: String = migration.checksum.iter().map(|byte| format!("{byte:02x}")).collect();
        let (version, name) = (migration.version, &migration.description);
        let _ = write!(
            script,
            "
-- ================================================================== {version} {name}

begin;

{}

insert into {table} (version, description, success, checksum, execution_time)
values ({version}, '{name}', true, '\\x{checksum}', -1);

commit;
",
            migration.sql.as_str().trim()
        );
    }
    script.push_str("\nreset search_path;\n");
    script
}

#[cfg(test)]
mod tests {
    use crate::{MIGRATIONS, VERSION, script};

    /// Guards: each migration is printed once, in order, and those that a database has are left out.
    #[test]
    fn what_a_database_lacks_is_printed() {
        for &(from, _, _) in MIGRATIONS {
            let printed = script(from - 1);
            let versions: Vec<i64> = printed
                .lines()
                .filter_map(|line| line.strip_prefix("values (")?.split(',').next()?.parse().ok())
                .collect();
            assert_eq!(versions, (from..=VERSION).collect::<Vec<_>>());
            assert_eq!(printed.contains("create schema"), from == 1);
            assert_eq!(printed.matches("\nbegin;\n").count(), printed.matches("\ncommit;\n").count());
        }
        assert_eq!((script(VERSION), script(VERSION + 1)), (String::new(), String::new()));
    }
}
