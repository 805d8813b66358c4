//! One request to a forge's API, before it is authenticated.

use http::header::{HeaderMap, IF_NONE_MATCH};
use http::{HeaderValue, Method};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::answers::User;
use crate::clock::Clock;
use crate::dialect::Repository;

/// One request.
pub(crate) struct ApiRequest<'a> {
    pub(crate) method: Method,
    pub(crate) route: &'a str,
    pub(crate) etag: Option<&'a str>,
    pub(crate) body: Option<&'a Value>,
}

impl ApiRequest<'_> {
    pub(crate) fn get(route: &str) -> ApiRequest<'_> {
        ApiRequest {
            method: Method::GET,
            route,
            etag: None,
            body: None,
        }
    }

    /// As people read it in an error.
    pub(crate) fn what(&self) -> String {
        let path = self.route.split('?').next().unwrap_or_default();
        format!("{} {path}", self.method)
    }

    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(Ok(etag)) = self.etag.map(HeaderValue::from_str) {
            headers.insert(IF_NONE_MATCH, etag);
        }
        headers
    }
}

/// What a client needs to send a request.
pub(crate) struct Context<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) repository: &'a Repository,
}

/// Who we are on the forge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Author {
    pub(crate) id: Option<i64>,
    pub(crate) login: String,
}

impl Author {
    /// Whether that is us. Where a forge does not yet have a number for an app, no person can have a name like an app's.
    pub(crate) fn is(&self, user: Option<&User>) -> bool {
        user.is_some_and(|user| match (self.id, user.id) {
            (Some(us), Some(them)) => us == them,
            (None, _) => {
                self.login.ends_with("[bot]")
                    && user.login.as_deref() == Some(self.login.as_str())
                    && user.r#type.as_deref() == Some("Bot")
            }
            (Some(_), None) => false,
        })
    }
}
