//! The addresses of the pages.

use std::io;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Redirect;
use axum::routing::{get, post};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

use crate::ask::Ask;
use crate::assets::Assets;
use crate::guard::{guard, with_headers};
use crate::said::Said;
use crate::sampler::Sampler;
use crate::secret::Secret;
use crate::state::{Console, Settings};
use crate::wall::Wall;
use crate::{beats, changes, drops, hands, payloads, reads, replays};

const FORM_BYTES_MAX: usize = 16 * 1024;

/// The console, to be served or mounted. A service that mounts it merges it as it is: its addresses begin with the base path.
pub fn router(ask: Arc<dyn Ask>, settings: Settings) -> io::Result<Router> {
    let base = settings.base_path.clone();
    if !is_base_path(&base) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("`{base}` is no path like /outbox")));
    }
    let (secret, assets) = (Secret::new()?, Assets::new(settings.accent.as_deref()));
    let (sampler, wall, said) = (Sampler::default(), Wall::default(), Said::default());
    let open = Arc::new(Semaphore::new(beats::OPEN_MAX));
    let console = Arc::new(Console { ask, settings, secret, sampler, assets, wall, open, said });
    let at = |path: &str| format!("{base}{path}");
    // Nothing else is compressed. A page has a form's token beside its own address, which another site can write. The length of the
    // compressed page would tell that site the token piece by piece (BREACH).
    let assets = Router::new()
        .route(&at("/console.css"), get(reads::css))
        .route(&at("/console.js"), get(reads::js))
        .route(&at("/htmx.js"), get(reads::htmx))
        .route_layer(CompressionLayer::new());
    let mut router = Router::new()
        .route(&at("/"), get(reads::now))
        .route(&at("/live"), get(beats::live))
        .route(&at("/look"), get(reads::look))
        .route(&at("/search"), get(reads::search))
        .route(&at("/rpc/{service}/{method}"), get(reads::rpc))
        .route(&at("/event/{id}"), get(reads::event))
        .route(&at("/events"), get(reads::events))
        .route(&at("/dead"), get(reads::dead))
        .route(&at("/dead/letter/{id}"), get(reads::letter))
        .route(&at("/dead/redrive"), get(reads::redrive).post(changes::redrive))
        .route(&at("/replay"), get(replays::plan).post(replays::run))
        .route(&at("/dead/letter/{id}/payload"), post(payloads::show))
        .route(&at("/drop"), get(drops::ask).post(drops::drop))
        .route(&at("/parked"), get(reads::parked))
        .route(&at("/parked/{id}/retry"), post(hands::retry_parked))
        .route(&at("/rpc/{service}/{method}/give-up"), get(hands::count_retrying).post(hands::give_up))
        .route(&at("/repairs"), get(reads::repairs))
        .route(&at("/repairs/{id}"), get(reads::repair))
        .route(&at("/line"), get(reads::line))
        .route(&at("/routes"), get(reads::routes))
        .route(&at("/audit"), get(reads::audit))
        .route(&at("/rpc/{service}/{method}/pause"), post(changes::pause))
        .route(&at("/rpc/{service}/{method}/resume"), post(changes::resume))
        .route(&at("/rpc/{service}/{method}/limit"), post(changes::limit))
        .route(&at("/rpc/{service}/{method}/unlimit"), post(changes::unlimit))
        .route(&at("/rpc/{service}/{method}/retry"), post(changes::retry))
        .route(&at("/repairs/{id}/stop"), post(changes::stop))
        .route(&at("/repairs/{id}/pause"), post(changes::hold))
        .route(&at("/repairs/{id}/resume"), post(changes::release))
        .route(&at("/repairs/{id}/pace"), post(changes::pace))
        .route(&at("/repairs/{id}/undo"), post(changes::undo))
        .route(&at("/repairs/{id}/continue"), post(changes::go_on))
        .merge(assets);
    if !base.is_empty() {
        let first = at("/");
        router = router.route(&base, get(move || async move { Redirect::to(&first) }));
    } else {
        router = router.fallback(reads::missing);
    }
    Ok(router
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
        .layer(from_fn_with_state(Arc::clone(&console), guard))
        // A panic is answered with the headers, too.
        .layer(CatchPanicLayer::new())
        .layer(map_response(with_headers))
        .with_state(console))
}

/// What addresses can begin with: nothing, or a path like `/outbox`.
pub fn is_base_path(text: &str) -> bool {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.".contains(c));
    text.is_empty() || text.starts_with('/') && is_plain && !text.contains("//") && !text.ends_with('/')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Demo;
    use crate::access::{Access, Allow};

    /// Guards: a service that mounts the console with a path that is none gets an error.
    #[test]
    fn a_base_path_is_a_path() {
        for (base, is_path) in [
            ("", true),
            ("/outbox", true),
            ("/a/b-c_d.e", true),
            ("outbox", false),
            ("/", false),
            ("/outbox/", false),
            ("//x", false),
            ("/a b", false),
            ("/{x}", false),
            ("/*x", false),
        ] {
            let settings = Settings {
                base_path: base.to_owned(),
                title: String::new(),
                accent: None,
                access: Access::Mounted,
                allow: Allow::default(),
                second_person: false,
                hosts: Vec::new(),
                #[cfg(feature = "prometheus")]
                prometheus: None,
                clock: Demo::clock,
            };
            assert_eq!(router(Arc::new(Demo), settings).is_ok(), is_path, "{base}");
        }
    }
}
