/// Reads a struct from a row: each field from the column of its name. sqlx's own macro would build sqlx, its runtime and TLS once
/// more, for the compiler.
macro_rules! from_row {
    ($row:ident { $($field:ident),+ }) => {
        impl sqlx::FromRow<'_, sqlx::postgres::PgRow> for $row {
            fn from_row(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: sqlx::Row::try_get(row, stringify!($field))?),+ })
            }
        }
    };
}

pub(crate) use from_row;
