//! A UPID: `UPID:node:pid:pstart:starttime:type:id:user:`, the name of a task of Proxmox VE.

use crate::api::{Call, Task};

/// What of a UPID is needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Upid {
    /// The node that has the task.
    pub(super) node: String,
    /// What it does, in Proxmox VE's word.
    pub(super) does: String,
}

impl Upid {
    /// Takes a UPID apart. The colon at its end is part of it, and whoever makes them keeps a token's `!` in the user.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split(':').collect();
        let ["UPID", node, pid, pstart, start, does, _, _, ""] = parts[..] else {
            return None;
        };
        let hex = |it: &str, least: usize| {
            it.len() >= least && it.len() <= 9 && it.bytes().all(|b| b.is_ascii_hexdigit())
        };
        let word = |it: &str| {
            !it.is_empty()
                && it
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
        };
        (hex(pid, 8) && hex(pstart, 8) && hex(start, 8) && word(node) && word(does)).then(|| Self {
            node: node.to_owned(),
            does: does.to_owned(),
        })
    }
}

/// A task out of what a call answered: a UPID, or nothing when it was done at once (G9).
pub(super) fn task(text: &str) -> Result<Option<Task>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    match Upid::parse(text) {
        Some(_) => Ok(Some(Task(text.to_owned()))),
        None => Err(format!(
            "`{}` is no UPID",
            text.escape_debug().take(120).collect::<String>()
        )),
    }
}

/// What a task does. High availability has one for both ways of stopping.
pub(super) fn call(does: &str) -> Call {
    match does {
        "vzstart" | "qmstart" | "hastart" => Call::Start,
        "vzshutdown" | "qmshutdown" | "hastop" => Call::Shutdown,
        "vzstop" | "qmstop" => Call::Stop,
        "qmconfig" => Call::Configure,
        "vzcreate" | "qmcreate" | "vzclone" | "qmclone" => Call::Create,
        "vzrestore" | "qmrestore" => Call::Restore,
        "vzdump" => Call::Backup,
        "vzdestroy" | "qmdestroy" => Call::Destroy,
        _ => Call::Other,
    }
}

/// Whether a task of that kind may leave other data in a guest than before: it ran, or was given what a snapshot or a backup holds.
pub(super) fn is_use(does: &str) -> bool {
    const USES: [&str; 11] = [
        "vzstart",
        "qmstart",
        "hastart",
        "vzreboot",
        "qmreboot",
        "qmreset",
        "qmresume",
        "vzrollback",
        "qmrollback",
        "vzrestore",
        "qmrestore",
    ];
    USES.contains(&does)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_upid_keeps_its_last_colon_and_its_token() {
        let good = "UPID:pve1:0000C530:001C9BEC:5E1D5A7F:vzstart:101:root@pam!muster:";
        assert_eq!(Upid::parse(good).unwrap().node, "pve1");
        // A start of a process with nine digits, as on machines that are up for long.
        assert!(Upid::parse(&good.replace("001C9BEC", "11C9BEC00")).is_some());
        assert_eq!(task("").unwrap(), None);
        for bad in [
            &good[..good.len() - 1],
            "UPID:pve1/../x:0000C530:001C9BEC:5E1D5A7F:vzstart:101:root@pam:",
            "UPID:pve1:C530:001C9BEC:5E1D5A7F:vzstart:101:root@pam:",
            "null",
        ] {
            assert!(task(bad).is_err(), "{bad}");
        }
    }
}
