//! The console in the process of `outbox dev`: for one browser on this machine, which may repair.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use chrono::Utc;
use outbox_console::{Access, Allow, Once, Settings, Viewer, router, serve};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::asker::{self, Questions};
use super::place::Place;
use super::who::HERE;
use crate::asked::Asked;
use crate::repair;
use crate::stopped::Stopped;

const PORT: u16 = 9466;
const TITLE: &str = "outbox dev";

/// Where it is served. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Beside {
    /// With the token.
    url: String,
    place: watch::Sender<Place>,
    serving: JoinHandle<std::io::Result<()>>,
}

/// Takes the address that is given, or else the usual one. If another process has the usual one, any free port will do.
pub(crate) async fn listen(wanted: Option<SocketAddr>) -> Result<TcpListener, Stopped> {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let first = TcpListener::bind(wanted.unwrap_or(usual)).await;
    let listener = match (first, wanted) {
        (Err(_), None) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
        (first, _) => first,
    };
    listener.map_err(|error| {
        let at = wanted.unwrap_or(usual);
        Stopped::unusable(
            format!("the console can't listen on {at}: {error}"),
            "pass another --console HOST:PORT, or --no-console",
        )
    })
}

impl Beside {
    /// `shown` is what a command ends with that is pasted into a terminal. Its questions wait until they are answered.
    pub(crate) fn open(
        listener: TcpListener,
        place: Place,
        shown: String,
    ) -> std::io::Result<(Self, Questions)> {
        let viewer = Viewer { name: repair::who(&Asked::default()), may_repair: true, ..Viewer::default() };
        let once = Once::new(viewer)?;
        let url = format!("http://{}/?token={}", listener.local_addr()?, once.token());
        let (place, places) = watch::channel(place);
        let (asker, questions) = asker::about(places, shown);
        let settings = Settings {
            base_path: String::new(),
            title: TITLE.to_owned(),
            accent: None,
            access: Access::Once(once),
            allow: Allow::default(),
            second_person: false,
            hosts: HERE.map(str::to_owned).to_vec(),
            #[cfg(feature = "prometheus")]
            prometheus: None,
            clock: Utc::now,
        };
        let serving = tokio::spawn(serve(listener, router(Arc::new(asker), settings)?));
        Ok((Self { url, place, serving }, questions))
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// From here on questions are about this one.
    pub(crate) fn moves_to(&self, place: Place) {
        self.place.send_replace(place);
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Answers while it is served, and never returns: without a console the rest goes on. `answer` runs a command for a page.
pub(crate) async fn answered<F>(questions: Option<&mut Questions>, answer: F) -> Infallible
where
    F: AsyncFn(Vec<String>, Asked) -> Result<ExitCode, Stopped> + Copy + 'static,
{
    if let Some(questions) = questions {
        questions.answer(answer).await;
    }
    std::future::pending().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards: a second `outbox dev` has a console, too, and an address that was asked for is not replaced by another one.
    #[tokio::test]
    async fn only_the_usual_address_may_be_another() {
        let first = listen(Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).await.unwrap();
        let taken = first.local_addr().unwrap();
        let refused = listen(Some(taken)).await.unwrap_err();
        assert!(refused.code() == 2 && refused.remedy.contains("--no-console"), "{refused:?}");
        let (one, other) = (listen(None).await.unwrap(), listen(None).await.unwrap());
        assert_ne!(one.local_addr().unwrap(), other.local_addr().unwrap());
    }
}
