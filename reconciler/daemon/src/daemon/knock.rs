//! Somebody outside says that it may be worth a look.

use std::sync::Arc;

use tokio::sync::Notify;

/// A door to knock at. Who knocks often is heard once; what was knocked while nobody listened is heard later.
#[derive(Clone, Debug, Default)]
pub struct Knock(Arc<Notify>);

impl Knock {
    /// Has the loop look soon, and not more often than its pace allows.
    pub fn knock(&self) {
        self.0.notify_one();
    }

    /// Returns when somebody has knocked since it last returned.
    pub(crate) async fn heard(&self) {
        self.0.notified().await;
    }

    /// Knocks at each of `others` whenever somebody knocks here.
    pub(crate) async fn pass_on(self, others: Vec<Self>) {
        loop {
            self.heard().await;
            others.iter().for_each(Self::knock);
        }
    }
}
