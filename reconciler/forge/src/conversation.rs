//! The conversation with one forge: one request at a time, a second between two changes, pauses where the forge asks for
//! them, answers from the cache where nothing changed. No request is repeated by itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, HeaderMap, LINK};
use http::{Method, Response, StatusCode};
use muster_core::diagnostic::visible;
use muster_core::forge::ForgeError;
use muster_core::time::Time;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::cache::Cache;
use crate::client::AnyClient;
use crate::clock::Clock;
use crate::dialect::{Dialect, Repository};
use crate::request::{ApiRequest, Author, Context};
use crate::status::{check_status, number, reset, server_time};

/// The pause between two changes; forges ask for it, and count faster changes as abuse.
const BETWEEN_CHANGES: Duration = Duration::from_secs(1);

/// The most pages that are read of one list. No list that matters is longer, and a list without an end must stop.
const MOST_PAGES: usize = 200;

/// The most characters of a forge's error message that are passed on.
const MOST_WORDS: usize = 300;

/// What is known of the forge from one request to the next.
pub(crate) struct Conversation {
    runtime: Runtime,
    clock: Arc<dyn Clock>,
    pub(crate) repository: Repository,
    pub(crate) client: AnyClient,
    about: String,
    cache: Cache,
    paused: Option<(Time, String)>,
    last_change: Option<Duration>,
    date: Option<Time>,
    began: Option<Time>,
    me: Option<Author>,
}

/// A conversation that a reader and a writer share.
#[derive(Clone)]
pub(crate) struct SharedConversation(Arc<Mutex<Conversation>>);

impl SharedConversation {
    pub(crate) fn new(conversation: Conversation) -> Self {
        Self(Arc::new(Mutex::new(conversation)))
    }

    /// One at a time: forges want requests in a row, and count parallel ones as abuse.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Conversation> {
        // After a panic the state is still valid: nothing in it is changed in two steps.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Conversation {
    pub(crate) fn new(
        runtime: Runtime,
        clock: Arc<dyn Clock>,
        repository: Repository,
        client: AnyClient,
        about: String,
    ) -> Self {
        Self {
            runtime,
            clock,
            repository,
            client,
            about,
            cache: Cache::default(),
            paused: None,
            last_change: None,
            date: None,
            began: None,
            me: None,
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        self.client.dialect()
    }

    pub(crate) fn keep_cache(&self) -> Vec<u8> {
        self.cache.keep(&self.about)
    }

    pub(crate) fn recall_cache(&mut self, bytes: &[u8]) {
        self.cache = Cache::recall(bytes, &self.about);
    }

    /// When the last list began, by the forge's clock: what changed later may not be in it.
    pub(crate) fn list_began(&self) -> Time {
        self.began.unwrap_or_else(|| self.clock.now())
    }

    /// Who we are there; asked once.
    pub(crate) fn me(&mut self) -> Result<Author, ForgeError> {
        if let Some(me) = &self.me {
            return Ok(me.clone());
        }
        self.refuse_while_paused()?;
        let context = Context {
            runtime: &self.runtime,
            clock: self.clock.as_ref(),
            repository: &self.repository,
        };
        let me = self.client.own_user(&context);
        let me = self.note_failure(me)?;
        // Without a number, it is asked again the next time.
        if me.id.is_some() {
            self.me = Some(me.clone());
        }
        Ok(me)
    }

    /// Reads one page.
    pub(crate) fn get(&mut self, route: &str) -> Result<Page, ForgeError> {
        self.refuse_while_paused()?;
        let known = self.cache.get(route).cloned();
        let request = ApiRequest {
            etag: known.as_ref().map(|it| it.etag.as_str()),
            ..ApiRequest::get(route)
        };
        let answer = self.send(&request)?;
        let what = request.what();
        if answer.status() == StatusCode::NOT_MODIFIED
            && let Some(known) = known
        {
            return Ok(Page {
                what,
                route: Some(route.to_owned()),
                body: Bytes::from(known.body),
                next: known.next,
            });
        }
        let checked = check_status(&what, &answer, self.clock.as_ref());
        self.note_failure(checked)?;
        let next = next_query(answer.headers());
        let etag = answer.headers().get(ETAG).and_then(|it| it.to_str().ok());
        match etag {
            Some(etag) => self.cache.put(route, etag, next.as_deref(), answer.body()),
            None => self.cache.forget(route),
        }
        Ok(Page {
            what,
            route: Some(route.to_owned()),
            body: answer.into_body(),
            next,
        })
    }

    /// Reads a list page by page to its end, or until `enough` is true of a page. An item that cannot be read is an `Err`
    /// in its place.
    pub(crate) fn list<T: DeserializeOwned>(
        &mut self,
        first: &str,
        mut enough: impl FnMut(&[Result<T, String>]) -> bool,
    ) -> Result<Vec<Result<T, String>>, ForgeError> {
        let path = first.split('?').next().unwrap_or_default();
        let mut route = first.to_owned();
        let mut been = BTreeSet::new();
        let mut all = Vec::new();
        loop {
            let page = self.get(&route)?;
            if been.is_empty() {
                self.began = self.date;
            }
            let items: Vec<Value> = self.read(&page)?;
            let items: Vec<Result<T, String>> = items
                .into_iter()
                .map(|it| {
                    serde_json::from_value(it)
                        .map_err(|error| short(&self.redact(visible(&error.to_string()))))
                })
                .collect();
            let stop = enough(&items);
            all.extend(items);
            let Some(next) = page.next.filter(|_| !stop) else {
                return Ok(all);
            };
            been.insert(route);
            route = format!("{path}?{next}");
            if been.contains(&route) || been.len() >= MOST_PAGES {
                return Err(ForgeError::Garbled {
                    what: page.what,
                    why: "a list that does not end".into(),
                });
            }
        }
    }

    /// Sends a request that changes something, at least [`BETWEEN_CHANGES`] after the last one.
    pub(crate) fn change(
        &mut self,
        method: Method,
        route: &str,
        body: &Value,
    ) -> Result<Page, ForgeError> {
        let request = ApiRequest {
            method,
            route,
            etag: None,
            body: Some(body),
        };
        self.spaced(&request, Self::send)
    }

    /// Sends a request to GitHub's GraphQL API, the only one that can hide a comment.
    pub(crate) fn graphql(&mut self, body: &Value) -> Result<Page, ForgeError> {
        let request = ApiRequest {
            method: Method::POST,
            route: "graphql",
            etag: None,
            body: Some(body),
        };
        self.spaced(&request, |conversation, request| {
            let context = Context {
                runtime: &conversation.runtime,
                clock: conversation.clock.as_ref(),
                repository: &conversation.repository,
            };
            conversation.client.graphql(&context, request)
        })
    }

    fn spaced(
        &mut self,
        request: &ApiRequest<'_>,
        speak: impl FnOnce(&mut Self, &ApiRequest<'_>) -> Result<Response<Bytes>, ForgeError>,
    ) -> Result<Page, ForgeError> {
        self.refuse_while_paused()?;
        if let Some(last) = self.last_change {
            let rest = (last + BETWEEN_CHANGES).saturating_sub(self.clock.steady());
            if !rest.is_zero() {
                self.clock.wait(rest);
            }
        }
        let answer = speak(self, request);
        self.last_change = Some(self.clock.steady());
        let answer = self.note_failure(answer)?;
        let checked = check_status(&request.what(), &answer, self.clock.as_ref());
        self.note_failure(checked)?;
        Ok(Page {
            what: request.what(),
            route: None,
            body: answer.into_body(),
            next: None,
        })
    }

    fn send(&mut self, request: &ApiRequest<'_>) -> Result<Response<Bytes>, ForgeError> {
        let context = Context {
            runtime: &self.runtime,
            clock: self.clock.as_ref(),
            repository: &self.repository,
        };
        let answer = self.client.send(&context, request);
        let answer = self.note_failure(answer)?;
        tracing::debug!(
            request = request.what(),
            status = answer.status().as_u16(),
            "The forge answered."
        );
        self.date = server_time(answer.headers()).or(self.date);
        if answer.status().is_success() || answer.status() == StatusCode::NOT_MODIFIED {
            self.pause_when_used_up(answer.headers());
        }
        Ok(answer)
    }

    /// Fails while the forge wants no requests from us.
    fn refuse_while_paused(&mut self) -> Result<(), ForgeError> {
        match &self.paused {
            Some((until, why)) if self.clock.now() < *until => Err(ForgeError::Pause {
                until: *until,
                why: why.clone(),
            }),
            _ => {
                self.paused = None;
                Ok(())
            }
        }
    }

    /// Notes the pause that a failure asks for, and redacts secrets in its text.
    fn note_failure<T>(&mut self, result: Result<T, ForgeError>) -> Result<T, ForgeError> {
        let redact = |text: String| short(&self.redact(text));
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let error = match error {
            ForgeError::Pause { until, why } => ForgeError::Pause {
                until,
                why: redact(why),
            },
            ForgeError::NoAnswer { what, why } => ForgeError::NoAnswer {
                what,
                why: redact(why),
            },
            ForgeError::Denied { what, why } => ForgeError::Denied {
                what,
                why: redact(why),
            },
            ForgeError::Refused { what, why } => ForgeError::Refused {
                what,
                why: redact(why),
            },
            ForgeError::Garbled { what, why } => ForgeError::Garbled {
                what,
                why: redact(why),
            },
            other @ (ForgeError::NotThere { .. } | ForgeError::TooLong { .. }) => other,
        };
        if let ForgeError::Pause { until, why } = &error {
            self.paused = Some((*until, why.clone()));
        }
        Err(error)
    }

    /// `text` without our secrets.
    fn redact(&self, text: String) -> String {
        self.client.redact(text)
    }

    /// Parses the body of an answer.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, page: &Page) -> Result<T, ForgeError> {
        let what = || page.what.clone();
        let read = serde_json::from_slice(&page.body).map_err(|error| match error.is_eof() {
            true => ForgeError::NoAnswer {
                what: what(),
                why: "it ends in the middle".into(),
            },
            false => ForgeError::Garbled {
                what: what(),
                why: visible(&error.to_string()),
            },
        });
        // An answer that cannot be parsed must not stay in the cache: `not modified` would bring it back for ever.
        if let (Err(_), Some(route)) = (&read, &page.route) {
            self.cache.forget(route);
        }
        self.note_failure(read)
    }

    /// Pauses when no requests are left of this hour: the next one would be refused, and counted against us.
    fn pause_when_used_up(&mut self, headers: &HeaderMap) {
        if number(headers, "x-ratelimit-remaining") == Some(0) {
            let until = reset(headers, self.clock.as_ref());
            self.paused = Some((until, "all requests of this hour are used up".into()));
        }
    }
}

/// One page of an answer, and the query of the next page.
pub(crate) struct Page {
    pub(crate) what: String,
    route: Option<String>,
    pub(crate) body: Bytes,
    pub(crate) next: Option<String>,
}

/// The query of the next page. Nothing else is taken from an address that a forge answers with: one behind a proxy may not know
/// its own name, and none may send us, or our credentials, elsewhere.
fn next_query(headers: &HeaderMap) -> Option<String> {
    for value in headers.get_all(LINK) {
        for link in value.to_str().ok()?.split(',') {
            let Some((address, rest)) = link
                .trim()
                .strip_prefix('<')
                .and_then(|it| it.split_once('>'))
            else {
                continue;
            };
            let next = rest
                .split(';')
                .any(|it| matches!(it.trim(), "rel=\"next\"" | "rel=next"));
            if let Some((_, query)) = address.split_once('?').filter(|_| next) {
                let plain = query.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
                return Some(query.to_owned()).filter(|_| plain && query.len() <= 2_000);
            }
        }
    }
    None
}

/// Shortens a text to [`MOST_WORDS`] characters. Secrets must be redacted before: a secret that is cut in two would not be
/// found.
fn short(text: &str) -> String {
    match text.char_indices().nth(MOST_WORDS) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}
