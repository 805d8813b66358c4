//! What settings fall back on that is a fact of the machine or of this process.

use std::path::PathBuf;

use muster_core::bytes::hex;

/// What settings fall back on that is a fact of the machine or of this process, and not of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambient {
    /// The machine's host name; its first label is the default name.
    pub hostname: String,
    /// The account muster runs as: always a protected name.
    pub account: Option<String>,
    /// Where the service manager put this process's credentials.
    pub credentials: Option<PathBuf>,
    /// Something that no other process has, such as on a machine of the same name.
    pub process: String,
}

impl Ambient {
    /// Asks the system.
    pub fn ask() -> Self {
        Self {
            hostname: nix::unistd::gethostname()
                .ok()
                .and_then(|name| name.into_string().ok())
                .unwrap_or_default(),
            account: nix::unistd::User::from_uid(nix::unistd::geteuid())
                .ok()
                .flatten()
                .map(|user| user.name),
            credentials: std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            process: {
                let mut bytes = [0; 4];
                // Without random numbers there is still the process's own, which differs on one machine.
                match getrandom::fill(&mut bytes) {
                    Ok(()) => hex(&bytes),
                    Err(_) => std::process::id().to_string(),
                }
            },
        }
    }
}
