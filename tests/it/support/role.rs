//! Database roles with the rights of one part.

use std::str::FromStr;

use sqlx::postgres::PgConnectOptions;

use super::world::World;

/// Creates a role with the rights of that part alone. Returns the address with which it connects.
pub(crate) async fn role(world: &World, part: &str) -> String {
    let name = format!("{part}_{:08x}", fastrand::u32(..));
    world.execute(&format!("create role {name} login")).await;
    world.execute(&format!("select outbox.grant_to('{name}', '{part}')")).await;
    address(world, &name)
}

pub(crate) fn address(world: &World, role: &str) -> String {
    let options = PgConnectOptions::from_str(&world.url).unwrap();
    format!(
        "postgres://{role}@{}:{}/{}",
        options.get_host(),
        options.get_port(),
        options.get_database().unwrap()
    )
}
