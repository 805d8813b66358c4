//! Owner responses: the report of the source to the byte, and what comes of answers.

mod lanes;
mod parity;
mod repo;
mod secret;
