//! One conversation with one forge: polite, bounded, and never twice.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{DATE, ETAG, HeaderMap, IF_NONE_MATCH, LINK, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use muster_core::diagnostic::visible;
use muster_core::forge::ForgeError;
use muster_core::time::Time;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::answers::{Complaint, User};
use crate::cache::Cache;
use crate::clock::Clock;
use crate::dialect::{Dialect, Repository};
use crate::wire::WireError;
use crate::{forgejo, github};

/// Between two changes; forges ask for it, and count those that come faster as abuse.
const BETWEEN_CHANGES: Duration = Duration::from_secs(1);

/// No answer keeps us quiet for longer, in seconds: the limits of every forge are by the hour.
const LONGEST_PAUSE: i64 = 2 * 3_600;

/// How long to be quiet where a forge wants it and does not say how long, in seconds.
const USUAL_PAUSE: i64 = 60;

/// No list that matters here is longer, in pages; one that never ends must.
const MOST_PAGES: usize = 200;

/// The most that is repeated of what a forge said of an error, in characters.
const MOST_WORDS: usize = 300;

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

/// One request.
pub(crate) struct Ask<'a> {
    pub(crate) method: Method,
    pub(crate) route: &'a str,
    pub(crate) etag: Option<&'a str>,
    pub(crate) body: Option<&'a Value>,
}

impl Ask<'_> {
    pub(crate) fn get(route: &str) -> Ask<'_> {
        Ask {
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

/// How requests are authenticated and sent, in either dialect.
pub(crate) enum Voice {
    GitHub(Box<github::Voice>),
    Forgejo(Box<forgejo::Voice>),
}

/// What lets a voice speak.
pub(crate) struct Around<'a> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) clock: &'a dyn Clock,
    pub(crate) repository: &'a Repository,
}

/// The state of the conversation.
pub(crate) struct Line {
    runtime: Runtime,
    clock: Arc<dyn Clock>,
    pub(crate) repository: Repository,
    pub(crate) voice: Voice,
    about: String,
    cache: Cache,
    quiet: Option<(Time, String)>,
    changed: Option<Duration>,
    date: Option<Time>,
    began: Option<Time>,
    me: Option<Author>,
}

/// A conversation that a reader and a writer share.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Line>>);

impl Shared {
    pub(crate) fn new(line: Line) -> Self {
        Self(Arc::new(Mutex::new(line)))
    }

    /// One at a time: forges want requests in a row, and count parallel ones as abuse.
    pub(crate) fn take(&self) -> MutexGuard<'_, Line> {
        // Whoever panicked left nothing half done that the next one relies on.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    pub(crate) fn new(
        runtime: Runtime,
        clock: Arc<dyn Clock>,
        repository: Repository,
        voice: Voice,
        about: String,
    ) -> Self {
        Self {
            runtime,
            clock,
            repository,
            voice,
            about,
            cache: Cache::default(),
            quiet: None,
            changed: None,
            date: None,
            began: None,
            me: None,
        }
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match self.voice {
            Voice::GitHub(_) => Dialect::GitHub,
            Voice::Forgejo(_) => Dialect::Forgejo,
        }
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
        self.be_quiet()?;
        let around = Around {
            runtime: &self.runtime,
            clock: self.clock.as_ref(),
            repository: &self.repository,
        };
        let me = match &mut self.voice {
            Voice::GitHub(voice) => voice.whoami(&around),
            Voice::Forgejo(voice) => voice.whoami(&around),
        };
        let me = self.heed(me)?;
        // Without a number, it is asked again the next time.
        if me.id.is_some() {
            self.me = Some(me.clone());
        }
        Ok(me)
    }

    /// Reads one page.
    pub(crate) fn get(&mut self, route: &str) -> Result<Page, ForgeError> {
        self.be_quiet()?;
        let known = self.cache.get(route).cloned();
        let ask = Ask {
            etag: known.as_ref().map(|it| it.etag.as_str()),
            ..Ask::get(route)
        };
        let answer = self.speak(&ask)?;
        let what = ask.what();
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
        let judged = judge(&what, &answer, self.clock.as_ref());
        self.heed(judged)?;
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

    /// Reads a list to its end, or until `enough` says so of a page. What cannot be read of it is told in its place.
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
                        .map_err(|error| short(&self.hide(visible(&error.to_string()))))
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

    /// Changes something. A second lies between this and the last time.
    pub(crate) fn change(
        &mut self,
        method: Method,
        route: &str,
        body: &Value,
    ) -> Result<Page, ForgeError> {
        let ask = Ask {
            method,
            route,
            etag: None,
            body: Some(body),
        };
        self.spaced(&ask, Self::speak)
    }

    /// Asks GitHub's other API, which knows how to put a comment out of sight.
    pub(crate) fn graphql(&mut self, body: &Value) -> Result<Page, ForgeError> {
        let ask = Ask {
            method: Method::POST,
            route: "graphql",
            etag: None,
            body: Some(body),
        };
        self.spaced(&ask, |line, ask| {
            let around = Around {
                runtime: &line.runtime,
                clock: line.clock.as_ref(),
                repository: &line.repository,
            };
            match &mut line.voice {
                Voice::GitHub(voice) => voice.graphql(&around, ask),
                Voice::Forgejo(_) => Err(ForgeError::NotThere { what: ask.what() }),
            }
        })
    }

    fn spaced(
        &mut self,
        ask: &Ask<'_>,
        speak: impl FnOnce(&mut Self, &Ask<'_>) -> Result<Response<Bytes>, ForgeError>,
    ) -> Result<Page, ForgeError> {
        self.be_quiet()?;
        if let Some(last) = self.changed {
            let rest = (last + BETWEEN_CHANGES).saturating_sub(self.clock.steady());
            if !rest.is_zero() {
                self.clock.wait(rest);
            }
        }
        let answer = speak(self, ask);
        self.changed = Some(self.clock.steady());
        let answer = self.heed(answer)?;
        let judged = judge(&ask.what(), &answer, self.clock.as_ref());
        self.heed(judged)?;
        Ok(Page {
            what: ask.what(),
            route: None,
            body: answer.into_body(),
            next: None,
        })
    }

    fn speak(&mut self, ask: &Ask<'_>) -> Result<Response<Bytes>, ForgeError> {
        let around = Around {
            runtime: &self.runtime,
            clock: self.clock.as_ref(),
            repository: &self.repository,
        };
        let answer = match &mut self.voice {
            Voice::GitHub(voice) => voice.speak(&around, ask),
            Voice::Forgejo(voice) => voice.speak(&around, ask),
        };
        let answer = self.heed(answer)?;
        tracing::debug!(
            request = ask.what(),
            status = answer.status().as_u16(),
            "The forge answered."
        );
        self.date = date(answer.headers()).or(self.date);
        if answer.status().is_success() || answer.status() == StatusCode::NOT_MODIFIED {
            self.mind_the_rest(answer.headers());
        }
        Ok(answer)
    }

    /// Refuses while the forge wants to be left alone.
    fn be_quiet(&mut self) -> Result<(), ForgeError> {
        match &self.quiet {
            Some((until, why)) if self.clock.now() < *until => Err(ForgeError::Pause {
                until: *until,
                why: why.clone(),
            }),
            _ => {
                self.quiet = None;
                Ok(())
            }
        }
    }

    /// Remembers a pause, and lets no secret out in what a forge said.
    fn heed<T>(&mut self, result: Result<T, ForgeError>) -> Result<T, ForgeError> {
        let hide = |text: String| short(&self.hide(text));
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        let error = match error {
            ForgeError::Pause { until, why } => ForgeError::Pause {
                until,
                why: hide(why),
            },
            ForgeError::NoAnswer { what, why } => ForgeError::NoAnswer {
                what,
                why: hide(why),
            },
            ForgeError::Denied { what, why } => ForgeError::Denied {
                what,
                why: hide(why),
            },
            ForgeError::Refused { what, why } => ForgeError::Refused {
                what,
                why: hide(why),
            },
            ForgeError::Garbled { what, why } => ForgeError::Garbled {
                what,
                why: hide(why),
            },
            other @ (ForgeError::NotThere { .. } | ForgeError::TooLong { .. }) => other,
        };
        if let ForgeError::Pause { until, why } = &error {
            self.quiet = Some((*until, why.clone()));
        }
        Err(error)
    }

    /// `text` without our secrets.
    fn hide(&self, text: String) -> String {
        match &self.voice {
            Voice::GitHub(voice) => voice.hide(text),
            Voice::Forgejo(voice) => voice.hide(text),
        }
    }

    /// What an answer says.
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
        // What cannot be read must not be what there is as long as nothing changes.
        if let (Err(_), Some(route)) = (&read, &page.route) {
            self.cache.forget(route);
        }
        self.heed(read)
    }

    /// What was granted is used up: the next request would be refused, and counted.
    fn mind_the_rest(&mut self, headers: &HeaderMap) {
        if number(headers, "x-ratelimit-remaining") == Some(0) {
            let until = reset(headers, self.clock.as_ref());
            self.quiet = Some((until, "all requests of this hour are used up".into()));
        }
    }
}

/// A whole answer, and the query of the page after it.
pub(crate) struct Page {
    pub(crate) what: String,
    route: Option<String>,
    pub(crate) body: Bytes,
    pub(crate) next: Option<String>,
}

/// What a broken wire means.
pub(crate) fn no_answer(what: String, error: &WireError) -> ForgeError {
    let why = match error {
        WireError::Trust(source) => format!("{error}: {source}"),
        other => other.to_string(),
    };
    ForgeError::NoAnswer {
        what,
        why: visible(&why),
    }
}

/// What an answer means, where it is no success.
pub(crate) fn judge(
    what: &str,
    answer: &Response<Bytes>,
    clock: &dyn Clock,
) -> Result<(), ForgeError> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let headers = answer.headers();
    let what = what.to_owned();
    let why = said(answer);
    let asked_to_wait = headers.contains_key(RETRY_AFTER);
    let used_up = number(headers, "x-ratelimit-remaining") == Some(0);
    let lower = why.to_ascii_lowercase();
    let limited = match status {
        StatusCode::TOO_MANY_REQUESTS => true,
        StatusCode::FORBIDDEN => {
            asked_to_wait || used_up || lower.contains("rate limit") || lower.contains("abuse")
        }
        StatusCode::SERVICE_UNAVAILABLE => asked_to_wait,
        _ => false,
    };
    Err(match status {
        _ if limited => ForgeError::Pause {
            until: match retry_after(headers, clock) {
                Some(until) => until,
                None if used_up => reset(headers, clock),
                None => clock.now().plus(USUAL_PAUSE),
            },
            why,
        },
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ForgeError::Denied { what, why },
        StatusCode::NOT_FOUND | StatusCode::GONE => ForgeError::NotThere { what },
        StatusCode::REQUEST_TIMEOUT => ForgeError::NoAnswer { what, why },
        _ if status.is_server_error() => ForgeError::NoAnswer { what, why },
        _ if status.is_redirection() => ForgeError::Refused {
            what,
            why: match headers.get(LOCATION).is_some() {
                true => "it is somewhere else now, and muster follows nowhere; set the new name or address".into(),
                false => why,
            },
        },
        _ => ForgeError::Refused { what, why },
    })
}

/// As much of a text as is repeated. Secrets are taken out before: a part of one would not be found.
fn short(text: &str) -> String {
    match text.char_indices().nth(MOST_WORDS) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

/// What the forge said, on one line.
fn said(answer: &Response<Bytes>) -> String {
    let complaint = serde_json::from_slice::<Complaint>(answer.body()).ok();
    let errors = complaint
        .as_ref()
        .and_then(|it| it.errors.as_ref())
        .filter(|it| !it.is_null())
        .map(|it| format!(" {it}"))
        .unwrap_or_default();
    let message = complaint.and_then(|it| it.message).unwrap_or_default();
    let status = answer.status();
    visible(format!("{status}: {message}{errors}").trim_end_matches([':', ' ']))
}

fn number(headers: &HeaderMap, name: &'static str) -> Option<i64> {
    let value = headers.get(HeaderName::from_static(name))?;
    value.to_str().ok()?.trim().parse().ok()
}

/// Until when, by `Retry-After`: seconds, or a date.
fn retry_after(headers: &HeaderMap, clock: &dyn Clock) -> Option<Time> {
    let now = clock.now();
    let until = match number(headers, "retry-after") {
        Some(seconds) => now.plus(seconds.clamp(1, LONGEST_PAUSE)),
        None => {
            let text = headers.get(RETRY_AFTER)?.to_str().ok()?;
            http_date(text)?.max(now.plus(1))
        }
    };
    Some(until.min(now.plus(LONGEST_PAUSE)))
}

/// Until when, by the forge's count. It counts by its own clock, which its answer tells.
fn reset(headers: &HeaderMap, clock: &dyn Clock) -> Time {
    let now = clock.now();
    let there = date(headers).unwrap_or(now);
    let rest = number(headers, "x-ratelimit-reset").map_or(USUAL_PAUSE, |it| it - there.0);
    now.plus(rest.clamp(1, LONGEST_PAUSE))
}

/// The forge's clock.
pub(crate) fn date(headers: &HeaderMap) -> Option<Time> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

fn http_date(text: &str) -> Option<Time> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    Some(Time(parsed.as_second()))
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
