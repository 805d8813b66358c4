//! What the status and the headers of an answer mean, and what it means when there is none.

use bytes::Bytes;
use http::header::{DATE, HeaderMap, LOCATION, RETRY_AFTER};
use http::{HeaderName, Response, StatusCode};
use muster_core::diagnostic::visible;
use muster_core::forge::ForgeError;
use muster_core::time::Time;

use crate::answers::Complaint;
use crate::clock::Clock;
use crate::wire::WireError;

/// No answer makes us pause for longer, in seconds: the limits of every forge are by the hour.
const LONGEST_PAUSE: i64 = 2 * 3_600;

/// How long to pause where a forge wants it and does not say how long, in seconds.
const USUAL_PAUSE: i64 = 60;

/// The error for a request that got no answer.
pub(crate) fn wire_failed(what: String, error: &WireError) -> ForgeError {
    let why = match error {
        WireError::Trust(source) => format!("{error}: {source}"),
        other => other.to_string(),
    };
    ForgeError::NoAnswer {
        what,
        why: visible(&why),
    }
}

/// The error that an answer stands for, where its status is no success.
pub(crate) fn check_status(
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

/// The forge's error message, on one line.
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

/// The number in a header.
pub(crate) fn number(headers: &HeaderMap, name: &'static str) -> Option<i64> {
    let value = headers.get(HeaderName::from_static(name))?;
    value.to_str().ok()?.trim().parse().ok()
}

/// When `Retry-After` lets us ask again: seconds, or a date.
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

/// When the forge grants new requests (`x-ratelimit-reset`). It counts by its own clock, which its answer tells.
pub(crate) fn reset(headers: &HeaderMap, clock: &dyn Clock) -> Time {
    let now = clock.now();
    let there = server_time(headers).unwrap_or(now);
    let rest = number(headers, "x-ratelimit-reset").map_or(USUAL_PAUSE, |it| it - there.0);
    now.plus(rest.clamp(1, LONGEST_PAUSE))
}

/// The moment of the answer by the forge's clock.
pub(crate) fn server_time(headers: &HeaderMap) -> Option<Time> {
    http_date(headers.get(DATE)?.to_str().ok()?)
}

fn http_date(text: &str) -> Option<Time> {
    let parsed = jiff::fmt::rfc2822::DateTimeParser::new()
        .parse_timestamp(text)
        .ok()?;
    Some(Time(parsed.as_second()))
}
