//! What an act notes while it is at work, durable before it goes on: what a later look has to know and no hypervisor keeps.

use serde::{Deserialize, Serialize};

use super::action::{Marker, Standing};

/// A note about the step that is being carried out (G23, H12).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mark {
    /// The hypervisor began a task: its UPID, or the id of its operation.
    TaskBegun {
        /// The handle.
        task: String,
    },
    /// A task is at its end. Hypervisors forget that within seconds or hours, so it is kept here.
    TaskEnded {
        /// The handle.
        task: String,
        /// How: `OK`, the warnings, or the error, in the hypervisor's words.
        how: String,
        /// Whether that is success.
        well: bool,
    },
    /// The guest was asked to shut down, and did not within the time that settings give it.
    Unheeded {},
    /// The hypervisor refused the request: it was there, understood it and did nothing. Not for a request that was not sent, or that was
    /// perhaps carried out (H11). The words are the same for the same refusal: no handle, no time (GB12).
    Refused {
        /// Why, in the hypervisor's words.
        why: String,
    },
    /// A backup of the guest was made, and the hypervisor lists it.
    BackedUp {
        /// The backup, as the hypervisor calls it.
        backup: String,
        /// How large it is, in bytes.
        bytes: u64,
        /// What else tells it from another one of that name: the moment at which it was made, in the hypervisor's words.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seal: Option<String>,
    },
    /// The guest runs, though a backup of it was made in this run: that one says nothing of it any more, and another one is due (H7).
    RanAgain {},
    /// A backup on which a step relies is not as it was when it was made, so the step was not carried out (H7).
    Spoilt {
        /// Which.
        backup: String,
        /// How it is.
        why: String,
    },
    /// A guest is going to be made out of that backup for a trial: noted before it is made, so that nothing of ours stays unknown.
    ScratchTaken {
        /// Under which number or name.
        scratch: String,
        /// What is written on it in the call that makes it.
        made: Marker,
    },
    /// The guest of the trial is gone again.
    ScratchGone {
        /// Under which number or name it was.
        scratch: String,
    },
    /// The backup was tried: it came up as a guest of its own.
    Rehearsed {
        /// Whether that guest was started, too; settings can turn that off, which is told.
        started: bool,
    },
    /// The guest is going to be set aside: noted before it is renamed.
    SetAside {
        /// How it stood.
        standing: Standing,
        /// What nobody is to change on it from then on ([`super::used::stance`]); not known of what earlier versions set aside.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stance: Option<String>,
    },
}

impl Mark {
    /// The tags of marks in journals.
    pub const TAGS: &[&str] = &[
        "task_begun",
        "task_ended",
        "unheeded",
        "refused",
        "backed_up",
        "ran_again",
        "spoilt",
        "scratch_taken",
        "scratch_gone",
        "rehearsed",
        "set_aside",
    ];
}
