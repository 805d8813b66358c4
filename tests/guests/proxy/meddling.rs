//! Somebody else who works there at the same moment, such as an administrator in the web interface.

use std::sync::Mutex;

use http::Method;

use super::State;
use super::upstream::Upstream;

/// What somebody does right before a request of ours, as root.
#[derive(Clone, Debug)]
pub struct Meddling {
    /// Before the request of that number, counted from when it was set.
    pub at: usize,
    /// Method, path and form of each call, in their order. One begins when the task of the one before has ended.
    pub calls: Vec<(Method, String, String)>,
}

impl Meddling {
    pub(super) async fn happens(self, upstream: &Upstream, state: &Mutex<State>) {
        for (method, path, form) in self.calls {
            let reply = upstream.ask(method, &path, form.into_bytes()).await;
            // What cannot be done any more, such as stopping what stands still, is left.
            let Some(upid) = reply.json["data"].as_str() else {
                continue;
            };
            state.lock().unwrap().begins(upid, "root@pam");
            let Some(node) = upid.split(':').nth(1).filter(|_| upid.starts_with("UPID:")) else {
                continue;
            };
            let status = format!("/nodes/{node}/tasks/{upid}/status");
            loop {
                let reply = upstream.ask(Method::GET, &status, Vec::new()).await;
                if reply.json["data"]["status"] != "running" {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
    }
}
