use std::sync::Arc;

use tokio::sync::Notify;

/// The SIGHUPs of this process. Several that come during one reload are one more.
#[derive(Debug, Clone, Default)]
pub struct Hangups(Arc<Notify>);

impl Hangups {
    /// Asks for a reload, as the signal does.
    pub fn ask(&self) {
        self.0.notify_one();
    }

    pub(crate) async fn next(&self) {
        self.0.notified().await;
    }
}
