use outbox_transport::args::Databases;

use crate::Source;

/// Every database that is named. An error has the problem and the remedy, and never the address itself.
pub fn databases(named: &Databases) -> Result<Vec<Source>, (String, &'static str)> {
    let (argument, addresses) = named.given();
    if addresses.is_empty() {
        return Err((
            "no database given".to_owned(),
            "set DATABASE_URL, or pass --database-url postgres://… (or --source, once per database)",
        ));
    }
    let parsed = addresses.into_iter().map(|address| address.parse::<Source>());
    parsed.collect::<Result<_, _>>().map_err(|error| {
        (
            format!("{argument} names no database: {error}"),
            "write postgres://USER:PASSWORD@HOST:PORT/DATABASE",
        )
    })
}
