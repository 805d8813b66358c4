//! HTTP for a model: threads, one per connection, and every way in which an answer can go wrong.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// A request, as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// As it was written.
    pub(crate) target: String,
    /// Without the query.
    pub(crate) path: String,
    pub(crate) query: BTreeMap<String, String>,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) how: How,
}

/// How it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    Whole,
    /// Not at all: the connection stays open.
    Hang,
    /// A byte now and then, for ever.
    Drip,
    /// Half of it, and the connection is closed.
    Half,
    /// The connection is closed without a word.
    Lost,
    /// A body without an end.
    Endless,
}

/// Serves until it is dropped.
pub(crate) struct Server {
    pub(crate) port: u16,
    stop: Arc<AtomicBool>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

pub(crate) fn serve(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Server {
    serve_on(TcpListener::bind(("127.0.0.1", 0)).unwrap(), answer)
}

/// Serves there, wherever that is.
pub(crate) fn serve_on(
    listener: TcpListener,
    answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
) -> Server {
    let port = listener.local_addr().unwrap().port();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            if stopped.load(Ordering::SeqCst) {
                return;
            }
            let Ok(stream) = stream else { continue };
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let _ = converse(&stream, answer.as_ref());
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    });
    Server { port, stop }
}

fn converse(stream: &TcpStream, answer: &dyn Fn(&Request) -> Reply) -> std::io::Result<()> {
    let mut input = BufReader::new(stream);
    let mut output = stream;
    while let Some(request) = read(&mut input)? {
        let reply = answer(&request);
        let length = match reply.how {
            How::Drip | How::Endless => usize::MAX >> 1,
            _ => reply.body.len(),
        };
        let mut head = format!(
            "HTTP/1.1 {} Said\r\ncontent-length: {length}\r\n",
            reply.status
        );
        for (name, value) in &reply.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        match reply.how {
            How::Whole => {
                output.write_all(head.as_bytes())?;
                output.write_all(&reply.body)?;
                if request.headers.get("connection").map(String::as_str) == Some("close") {
                    return Ok(());
                }
            }
            How::Hang => return until_closed(&mut input),
            How::Drip => {
                output.write_all(head.as_bytes())?;
                stream.set_read_timeout(Some(Duration::from_millis(10)))?;
                let mut byte = [0];
                // It ends when whoever asked has had enough.
                while !matches!(input.read(&mut byte), Ok(0)) {
                    output.write_all(b" ")?;
                }
                return Ok(());
            }
            How::Half => {
                output.write_all(head.as_bytes())?;
                return output.write_all(&reply.body[..reply.body.len() / 2]);
            }
            How::Lost => return Ok(()),
            How::Endless => {
                output.write_all(head.as_bytes())?;
                loop {
                    output.write_all(&[b' '; 65_536])?;
                }
            }
        }
    }
    Ok(())
}

fn until_closed(input: &mut impl Read) -> std::io::Result<()> {
    let mut sink = [0; 1_024];
    while input.read(&mut sink)? > 0 {}
    Ok(())
}

fn read(input: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let target = target.to_owned();
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let query = query
        .split('&')
        .filter_map(|it| it.split_once('='))
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect();
    let (method, path) = (method.to_owned(), path.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|it| it.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    input.read_exact(&mut body)?;
    Ok(Some(Request {
        method,
        target,
        path,
        query,
        headers,
        body,
    }))
}

fn decoded(value: &str) -> String {
    let mut parts = value.split('%');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let byte = u8::from_str_radix(&part[..2], 16).unwrap();
        text.push(char::from(byte));
        text.push_str(&part[2..]);
    }
    text
}
