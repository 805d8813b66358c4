//! Reports as people get them: whole texts against golden files, hostile input against a second Markdown reader.
#![expect(
    clippy::disallowed_methods,
    reason = "tests rewrite their golden files; core itself reads and writes nothing"
)]

mod fleet;
mod golden;
mod hostile;
mod public;
mod reader;
mod rooms;
mod world;
