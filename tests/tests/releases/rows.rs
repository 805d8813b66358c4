//! The table: each attack and each situation, what happens, and what must come of it.

use std::collections::BTreeSet;
use std::sync::Arc;

use muster::cycle::CycleSummary;
use muster_core::accounts::action::{Action, Incarnation};
use muster_core::facts::Frozen;
use muster_core::journal::{Entry, StepResult};
use muster_core::release::root::{Role, TrustRoot};
use muster_core::release::rotation;
use muster_core::release::statement::Line;
use muster_core::release::{Code, Nonce, ObjectKind};
use muster_core::rooms::{self};
use muster_core::step::Step;
use muster_core::world::Topic;
use muster_sim::{SimTraces, Timing};
use muster_tests::of_host;
use muster_tests::signer::{self, Signer};
use muster_tests::story::roster;

use crate::world::{FOUR, World, forged, lines, without};

/// What came of it.
pub(crate) enum Came {
    /// Signed by somebody who may, and refused: in the journal, once, with this word.
    Refused(Code),
    /// Signed by nobody who may: told to the log alone.
    Stranger(Code),
    /// No release was taken up, and emo's removal waits for this reason.
    Waits(&'static str),
    /// As many releases were taken up, and are at their end.
    Runs(usize),
}

pub(crate) struct Row {
    pub(crate) number: u8,
    pub(crate) situation: &'static str,
    pub(crate) happens: fn(&mut World) -> CycleSummary,
    pub(crate) came: Came,
    /// What was acted on that is not benign: verb and person.
    pub(crate) acted: &'static [&'static str],
}

pub(crate) const REMOVED: &[&str] = &["user.archive_delete emo"];
/// Begun by one process, and brought to its end by another.
pub(crate) const TAKEN_UP_AGAIN: &[&str] = &["user.archive_delete emo", "user.archive_delete emo"];
pub(crate) const NOTHING: &[&str] = &[];

macro_rules! rows {
    ($($number:literal, $situation:literal, $came:expr, $acted:expr, $happens:expr;)*) => {
        &[$(Row { number: $number, situation: $situation, came: $came, acted: $acted, happens: $happens }),*]
    };
}

pub(crate) const ROWS: &[Row] = rows! {
    1, "no release at all", Came::Waits("pending_signature"), NOTHING, |it| it.cycle();
    1, "an annotated tag that nobody signed", Came::Stranger(Code::Malformed), NOTHING, |it| {
        let statement = it.removal();
        let (name, raw) = Signer::named("opal").release(&statement);
        let end = raw.windows(20).position(|it| it == b"-----BEGIN SSH SIGNA").expect("a signature");
        it.sim.with(|u| u.repository.push_tag(&name, ObjectKind::Tag, raw[..end].to_vec()));
        it.cycle()
    };
    2, "a merge that drops somebody cuts, and deletes nothing", Came::Waits("pending_signature"), NOTHING, |it| {
        it.commit(&without("emo cho"));
        let summary = it.cycle();
        assert!(it.removals(&summary).next().is_some(), "a cut");
        assert!(it.sim.with(|u| u.host.homes.contains_key("/home/cho")));
        summary
    };
    4, "the window is over", Came::Refused(Code::Expired), NOTHING, |it| {
        let statement = it.removal();
        it.push("opal", &statement);
        it.now = it.now.plus(2 * 86_400);
        it.cycle()
    };
    5, "the nonce again, in one process", Came::Refused(Code::Replay), REMOVED, |it| {
        let statement = it.removal();
        let (policy, now) = (it.policy.clone(), it.now);
        it.push("opal", &statement);
        let mut memory = it.sim.boot();
        let _ = it.sim.cycle_with(&mut memory, &policy, now).expect("a cycle");
        let again = it.step("group.join", "ann");
        let again = signer::statement(&[again], &it.sim.facts().adopted, it.nonce, it.now);
        it.push("opal", &again);
        it.sim.cycle_with(&mut memory, &policy, now).expect("a cycle")
    };
    6, "the nonce again, in another process", Came::Refused(Code::Replay), REMOVED, |it| {
        let statement = it.removal();
        it.push("opal", &statement);
        let _ = it.cycle();
        let again = it.step("group.join", "ann");
        let again = signer::statement(&[again], &it.sim.facts().adopted, it.nonce, it.now);
        it.push("opal", &again);
        it.cycle()
    };
    7, "for other executors only: none of ours, in silence", Came::Waits("pending_signature"), NOTHING, |it| {
        let mut statement = it.removal();
        let block = statement.blocks.remove("host/devvm").expect("a block");
        statement.blocks.insert("host/other".into(), block);
        assert_eq!(it.admitted("opal", &statement), Some(Code::WrongExecutor));
        it.push("opal", &statement);
        let before = it.sim.with(|u| u.journal.len());
        let summary = it.cycle();
        assert_eq!(before, it.sim.with(|u| u.journal.len()), "no record of it");
        summary
    };
    8, "the id of one person's step with the words of another's", Came::Refused(Code::BindingMismatch), NOTHING, |it| {
        it.changed(|statement| {
            let line = &mut lines(statement)[0];
            line.words = line.words.replace("emo", "bea");
        })
    };
    8, "a step of somebody who does not leave", Came::Refused(Code::BindingMismatch), NOTHING, |it| {
        let step = forged(it, |action| {
            if let Action::ArchiveDelete { user, home, .. } = action {
                *user = "bea".into();
                *home = "/home/bea".into();
            }
        });
        let statement = it.statement(&[step]);
        it.push("opal", &statement);
        it.cycle()
    };
    9, "the id of one step with another verb", Came::Refused(Code::BindingMismatch), NOTHING, |it| {
        it.changed(|statement| {
            let line = &mut lines(statement)[0];
            line.words = line.words.replace("user.archive_delete", "user.purge");
        })
    };
    10, "the id of a step with other parameters", Came::Refused(Code::BindingMismatch), NOTHING, |it| {
        it.changed(|statement| {
            let line = &mut lines(statement)[0];
            line.words = line.words.replace("/home/emo", "/home/bea");
        })
    };
    10, "a step with other parameters", Came::Refused(Code::BindingMismatch), NOTHING, |it| {
        let step = forged(it, |action| {
            if let Action::ArchiveDelete { home, .. } = action {
                *home = "/home/bea".into();
            }
        });
        let statement = it.statement(&[step]);
        it.push("opal", &statement);
        it.cycle()
    };
    11, "a recovery key releases nothing", Came::Stranger(Code::RoleDenied), NOTHING, |it| {
        let statement = it.removal();
        it.push("ivo", &statement);
        it.cycle()
    };
    12, "operational keys appoint no recovery keys", Came::Waits("pending_signature"), NOTHING, |it| {
        let mut next = signer::root(2, &["opal", "olga"]);
        next.keys.retain(|key| key.role != Role::Recovery);
        next.keys.push(Signer::named("eve").trusted("eve", Role::Recovery));
        next.revoked = dropped("ivo");
        rotate(it, &next, &["opal", "olga"]);
        let summary = it.cycle();
        let said = summary.warnings.join("\n");
        assert!(said.contains("role_denied"), "{said}");
        assert_eq!(it.sim.with(|u| u.trust.as_ref().map(|it| it.version)), Some(1));
        summary
    };
    13, "a row that calls itself scratch", Came::Waits("pending_signature"), NOTHING, |it| {
        it.commit(&FOUR.replace("user: emo-k, ", "user: emo-k, scratch: true, "));
        let summary = it.cycle();
        assert!(summary.attempted.is_some(), "an unknown field is no field");
        summary
    };
    14, "what muster itself gave is taken back without a release", Came::Waits("pending_signature"), NOTHING, |it| {
        it.commit(&without("emo").replace("cho-k, tier: power-user", "cho-k, tier: admin"));
        let _ = it.cycle();
        it.commit(&without("emo"));
        let summary = it.cycle();
        let given_back = |(step, result): &(Arc<Step>, StepResult)| {
            step.words().starts_with("group.leave cho") && *result == StepResult::Done
        };
        assert!(summary.ran.iter().any(given_back), "{:?}", summary.ran);
        summary
    };
    15, "a verb that this version does not know", Came::Refused(Code::BindingMismatch), NOTHING, |it| {
        it.changed(|statement| {
            let line = &mut lines(statement)[0];
            line.id = "00112233445566778899aabbccddeeff".parse().expect("an id");
            line.words = "user.evaporate emo".into();
        })
    };
    16, "a good release", Came::Runs(1), REMOVED, |it| it.changed(|_| {});
    17, "a host without keys: what is benign runs", Came::Waits("pending_signature"), NOTHING, |it| {
        it.sim.with(|u| u.trust = None);
        it.commit(&(without("emo") + "  dov: {authentik_user: d.ov, k8s_user: dov-k, tier: power-user}\n"));
        let statement = it.removal();
        it.push("opal", &statement);
        let summary = it.cycle();
        assert!(it.sim.with(|u| u.host.accounts.contains_key("dov")));
        summary
    };
    18, "a release for an executor that nobody runs, and for this one", Came::Runs(1), REMOVED, |it| {
        it.changed(|statement| {
            let line = Line {
                id: "00112233445566778899aabbccddeeff".parse().expect("an id"),
                words: "namespace.delete scratch".into(),
            };
            statement.blocks.insert("cluster/none".into(), vec![line]);
        })
    };
    19, "the power goes out between claim and end: once, to the end", Came::Runs(1), TAKEN_UP_AGAIN, |it| {
        let statement = it.removal();
        it.push("opal", &statement);
        // The claim, the intent, and the move into quarantine.
        it.sim.with(|u| {
            u.fuse.effects = 0;
            u.fuse.blow = Some((2, Timing::After));
        });
        assert!(it.sim.cycle(&it.policy, it.now).is_err());
        it.sim.with(|u| u.fuse.blow = None);
        assert_eq!(it.sim.with(|u| (u.host.quarantine.len(), u.host.archives.len())), (1, 0));
        let first = it.cycle();
        assert_eq!(first.recovered.len(), 1);
        it.now = it.now.plus(3_600);
        it.cycle()
    };
    20, "nobody takes reports", Came::Runs(1), REMOVED, |it| {
        it.sim.with(|u| u.sink_is_down = true);
        it.changed(|_| {})
    };
    24, "the tag of a release that ran is pushed again", Came::Runs(1), REMOVED, |it| {
        let statement = it.removal();
        let name = it.push("opal", &statement);
        let _ = it.cycle();
        it.sim.with(|u| u.repository.delete_tag(&name));
        let _ = it.cycle();
        it.push("opal", &statement);
        assert_eq!(it.admitted("opal", &statement), Some(Code::Replay));
        it.cycle()
    };
    25, "a commit of a proposal", Came::Refused(Code::NotAdopted), NOTHING, |it| {
        let side = it.sim.with(|u| u.repository.commit("proposal", roster(&without("emo cho"))));
        it.changed(|statement| statement.commit = side)
    };
    34, "keys and hooks in the tree", Came::Stranger(Code::UnknownSigner), NOTHING, |it| {
        let mut files = roster(&without("emo"));
        let mine = signer::root(2, &["eve", "opal", "olga"]).render();
        for path in ["trust/root.toml", "etc/muster/trust/root.toml", "allowed_signers", "hooks/pre-receive"] {
            files.insert(path.into(), mine.clone().into_bytes());
        }
        it.sim.with(|u| u.repository.commit("main", files));
        let _ = it.cycle();
        let statement = it.removal();
        it.push("eve", &statement);
        it.cycle()
    };
    35, "new signers and their first release at once", Came::Stranger(Code::UnknownSigner), NOTHING, |it| {
        let next = signer::root(2, &["opal", "olga", "eve"]);
        rotate(it, &next, &["eve"]);
        let statement = it.removal();
        it.push("eve", &statement);
        let summary = it.cycle();
        assert_eq!(it.sim.with(|u| u.trust.as_ref().map(|it| it.version)), Some(1));
        summary
    };
    40, "a window of more than 72 hours", Came::Refused(Code::Expired), NOTHING, |it| {
        it.changed(|statement| statement.not_after = statement.not_before.plus(72 * 3_600 + 1))
    };
    40, "a window of exactly 72 hours", Came::Runs(1), REMOVED, |it| {
        it.changed(|statement| statement.not_after = statement.not_before.plus(72 * 3_600))
    };
    40, "a window that has not begun", Came::Refused(Code::NotYetValid), NOTHING, |it| {
        it.changed(|statement| statement.not_before = statement.not_before.plus(60))
    };
    41, "the clock was set back", Came::Refused(Code::Clock), NOTHING, |it| {
        it.sim.with(|u| u.set_back = 3_600);
        it.changed(|statement| statement.not_before = statement.not_before.plus(-7_200))
    };
    42, "another merge since: the step is the same", Came::Runs(1), REMOVED, |it| {
        let statement = it.removal();
        it.push("opal", &statement);
        it.commit(&(without("emo") + "  dov: {authentik_user: d.ov, k8s_user: dov-k, tier: power-user}\n"));
        it.cycle()
    };
    42, "the step is another since", Came::Refused(Code::BindingMismatch), NOTHING, |it| {
        let statement = it.removal();
        it.push("opal", &statement);
        it.sim.with(|u| u.host.homes.remove("/home/emo"));
        it.cycle()
    };
    43, "an account of the same name, made anew", Came::Refused(Code::BindingMismatch), NOTHING, |it| {
        let statement = it.removal();
        it.commit(FOUR);
        let _ = it.cycle();
        it.sim.with(|u| u.host.accounts.remove("emo"));
        let _ = it.cycle();
        it.commit(&without("emo"));
        let _ = it.cycle();
        it.push("opal", &statement);
        it.cycle()
    };
    44, "the row is back", Came::Refused(Code::BindingMismatch), NOTHING, |it| {
        let statement = it.removal();
        it.push("opal", &statement);
        it.commit(FOUR);
        let summary = it.cycle();
        assert!(it.sim.with(|u| u.host.homes.contains_key("/home/emo")));
        summary
    };
    46, "two releases with one nonce: one wins", Came::Refused(Code::Replay), REMOVED, |it| {
        let statement = it.removal();
        it.push("opal", &statement);
        let mut twin = statement.clone();
        let join = it.step("admins.add", "ann");
        twin.blocks = signer::statement(&[join], &statement.commit, it.nonce, it.now).blocks;
        let _ = it.cycle();
        it.push("opal", &twin);
        it.cycle()
    };
    47, "a state directory that was put back knows the nonce by its mark alone", Came::Refused(Code::Replay), NOTHING, |it| {
        let statement = it.removal();
        let (at, commit) = (it.now, statement.commit.clone());
        let (who, reason) = ("ann".into(), "it was put back".into());
        let nonce = Some(statement.nonce);
        it.sim.with(|u| u.journal.push(Entry::Reset { at, commit, who, reason, nonce }));
        it.push("opal", &statement);
        it.cycle()
    };
    47, "the state directory is an older copy", Came::Refused(Code::Frozen), NOTHING, |it| {
        let at = it.now;
        let why = Frozen::Older { journal: 7, mark: 9 };
        it.sim.with(|u| u.journal.push(Entry::Frozen { at, why }));
        it.changed(|_| {})
    };
    47, "the journal is gone or an older copy", Came::Refused(Code::Frozen), NOTHING, |it| {
        let at = it.now;
        it.sim.with(|u| u.journal.push(Entry::Frozen { at, why: Frozen::Lost }));
        it.changed(|_| {})
    };
    48, "a protected name", Came::Refused(Code::Guardrail), NOTHING, |it| {
        of_host::decided(&mut it.policy).protected.insert("emo".into());
        it.changed(|_| {})
    };
    48, "the last admin", Came::Refused(Code::Guardrail), &["admins.add ann", "group.join ann", "group.join ann"], |it| {
        let steps = [it.step("admins.add", "ann"), it.step("group.join", "ann"), {
            let mut joins = it.held.iter().filter(|step| of_host::verb(step).word() == "group.join");
            joins.next_back().expect("two groups").clone()
        }];
        let statement = it.statement(&steps);
        it.push("opal", &statement);
        it.push("olga", &statement);
        let _ = it.cycle();
        it.commit(&without("emo ann"));
        let _ = it.cycle();
        let cut = it.step("user.cut", "ann");
        let parts = it.step("login.lock", "ann");
        let statement = it.statement(&[cut, parts]);
        it.push("opal", &statement);
        it.push("olga", &statement);
        it.cycle()
    };
    49, "a part of too many", Came::Refused(Code::Guardrail), NOTHING, |it| {
        it.commit(&without("emo bea cho"));
        let _ = it.cycle();
        let cuts = [it.step("user.cut", "bea")];
        let statement = it.statement(&cuts);
        it.push("opal", &statement);
        it.push("olga", &statement);
        it.cycle()
    };
    49, "exactly those that are too many", Came::Runs(1), NOTHING, |it| {
        it.commit(&without("emo bea cho"));
        let _ = it.cycle();
        let cuts = [it.step("user.cut", "bea"), it.step("user.cut", "cho")];
        let statement = it.statement(&cuts);
        it.push("opal", &statement);
        let summary = it.cycle();
        let cut = it.removals(&summary).count();
        assert_eq!(cut, 2);
        summary
    };
    50, "no archive can be made", Came::Runs(1), REMOVED, |it| {
        it.sim.with(|u| u.host.broken.insert("emo".into(), "no space left for the archive".into()));
        let summary = it.changed(|_| {});
        it.sim.with(|u| {
            assert!(u.host.accounts.contains_key("emo") && u.host.homes.contains_key("/home/emo"));
        });
        // What failed needs a new release, whatever time goes by.
        it.sim.with(|u| u.host.broken.clear());
        it.now = it.now.plus(7_200);
        let _ = it.cycle();
        summary
    };
    51, "somebody is logged in again", Came::Runs(1), REMOVED, |it| {
        let traces = SimTraces { processes: 3, ..SimTraces::default() };
        it.sim.with(|u| u.host.traces.insert("emo".into(), traces));
        let summary = it.changed(|_| {});
        let ended = summary.ran.iter().position(|(step, _)| of_host::verb(step).word() == "sessions.end");
        let removed = summary.ran.iter().position(|(step, _)| of_host::verb(step).word() == "user.archive_delete");
        assert!(ended.is_some() && ended < removed, "{:?}", summary.ran);
        summary
    };
    52, "the home is somebody else's now", Came::Refused(Code::BindingMismatch), NOTHING, |it| {
        let statement = it.removal();
        it.push("opal", &statement);
        it.sim.with(|u| u.host.homes.insert("/home/emo".into(), 4_242));
        it.cycle()
    };
    53, "a name that is a path", Came::Waits("pending_signature"), NOTHING, |it| {
        for name in ["../x", "\"a\\nb\"", "-rf", "ann ", "а"] {
            it.commit(&format!("{}  {name}: {{authentik_user: x, k8s_user: x, tier: power-user}}\n", without("emo")));
            assert!(it.cycle().attempted.is_some(), "{name}");
        }
        it.cycle()
    };
    55, "reports that somebody changed", Came::Waits("pending_signature"), NOTHING, |it| {
        it.sim.with(|u| {
            for text in u.told.values_mut() {
                *text = "everything is released: user.archive_delete emo, user.archive_delete bea".into();
            }
        });
        it.cycle()
    };
    56, "a proposal that asks for everything", Came::Waits("pending_signature"), NOTHING, |it| {
        it.sim.with(|u| {
            let mut files = roster(&without("emo ann bea cho"));
            files.insert("hooks/post-merge".into(), b"#!/bin/sh\nrm -rf /\n".to_vec());
            files.insert("tiers.yaml".into(), b"tiers: !!python/object/apply:os.system [id]\n".to_vec());
            u.repository.commit("from-a-fork", files);
        });
        let before = it.sim.with(|u| (u.host.clone(), u.acted.len()));
        let summary = it.cycle();
        assert_eq!(before, it.sim.with(|u| (u.host.clone(), u.acted.len())));
        summary
    };
    57, "a proposal is never taken for the branch", Came::Waits("pending_signature"), NOTHING, |it| {
        let head = it.sim.with(|u| {
            u.repository.commit("main2", roster("users: {}\n"));
            u.repository.commit("refs/pull/1/head", roster("users: {}\n"));
            u.repository.commit("refs/heads/refs/heads/main", roster("users: {}\n"))
        });
        let summary = it.cycle();
        assert_ne!(it.sim.facts().adopted, head);
        let told = it.sim.with(|u| u.told.keys().filter(|(topic, _)| *topic == Topic::Plan).count());
        assert!(told > 0, "they are told what they would do");
        summary
    };
    58, "the branch was rewritten", Came::Refused(Code::Frozen), NOTHING, |it| {
        let statement = it.removal();
        it.sim.with(|u| u.repository.force_push("main", roster("users: {}\n")));
        it.push("opal", &statement);
        let summary = it.cycle();
        assert!(summary.frozen.is_some());
        it.cycle()
    };
    59, "an empty roster", Came::Waits("pending_signature"), NOTHING, |it| {
        it.commit("users: {}\n");
        let before = it.sim.with(|u| u.host.clone());
        let summary = it.cycle();
        assert_eq!(before, it.sim.with(|u| u.host.clone()));
        summary
    };
    59, "a roster that ends in the middle", Came::Waits("pending_signature"), NOTHING, |it| {
        it.commit(&FOUR[..FOUR.len() / 2]);
        it.cycle()
    };
    59, "an origin that does not answer", Came::Waits("pending_signature"), NOTHING, |it| {
        it.sim.with(|u| u.origin_is_down = true);
        it.cycle()
    };
    60, "two keys of one person", Came::Refused(Code::QuorumPending), NOTHING, |it| {
        let mut root = signer::root(1, &["opal", "olga"]);
        root.quorums.destructive = Some(2);
        root.keys.push(Signer::named("opal's other").trusted("opal", Role::Operational));
        it.sim.with(|u| u.trust = Some(root.clone()));
        // Another root is another version; this one is put there by the administrator.
        it.sim.with(|u| u.trust.as_mut().expect("a root").version = 2);
        let statement = it.removal();
        it.push("opal", &statement);
        it.push("opal's other", &statement);
        it.cycle()
    };
    61, "the same commit id, and another step behind it", Came::Refused(Code::BindingMismatch), NOTHING, |it| {
        // Whatever a commit is replaced by, what runs was signed by what it does: another home is another step.
        let step = it.step("user.archive_delete", "emo");
        let mut incarnation = step.incarnation.clone();
        if let rooms::Incarnation::Account(Incarnation::Home { home: Some(home), .. }) = &mut incarnation {
            home.inode += 1;
        }
        let other = Step::new(it.policy.executor(), step.action.clone(), incarnation);
        let statement = it.statement(&[other.into()]);
        it.push("opal", &statement);
        it.cycle()
    };
    63, "the key is dropped between claim and start", Came::Runs(1), NOTHING, |it| {
        // The root is read when the cycle begins, for which tags to ask and for whom to trust, and again before the batch.
        it.sim.with(|u| u.trust_later = Some((2, Some(opal_dropped()))));
        let summary = it.changed(|_| {});
        let said = summary.warnings.join("\n");
        assert!(said.contains("revoked"), "{said}");
        summary
    };
    63, "the key is dropped while the power is out", Came::Runs(1), NOTHING, |it| {
        let statement = it.removal();
        it.push("opal", &statement);
        it.sim.with(|u| {
            u.fuse.effects = 0;
            u.fuse.blow = Some((0, Timing::After));
        });
        assert!(it.sim.cycle(&it.policy, it.now).is_err());
        it.sim.with(|u| {
            u.fuse.blow = None;
            u.trust = Some(opal_dropped());
        });
        it.cycle()
    };
};

/// The decisions about tags that have no number.
pub(crate) const DECISIONS: &[Row] = rows! {
    0, "a lightweight tag of a commit", Came::Stranger(Code::NotAnnotated), NOTHING, |it| {
        let statement = it.removal();
        let name = statement.tag_name(&Signer::named("opal").blob);
        it.sim.with(|u| u.repository.push_tag(&name, ObjectKind::Commit, Vec::new()));
        it.cycle()
    };
    0, "a tag under another name", Came::Stranger(Code::NameMismatch), NOTHING, |it| {
        let statement = it.removal();
        let (name, raw) = Signer::named("opal").release(&statement);
        let other = name.replace("T12", "T13");
        it.sim.with(|u| u.repository.push_tag(&other, ObjectKind::Tag, raw));
        it.cycle()
    };
    0, "the name of a good release, moved to other bytes", Came::Stranger(Code::NameMismatch), NOTHING, |it| {
        let good = it.removal();
        let mut other = good.clone();
        other.reason = "something else".into();
        let name = good.tag_name(&Signer::named("opal").blob);
        let raw = Signer::named("opal").tag(&other.commit, &name, &other.render(), it.now);
        it.push("opal", &good);
        it.sim.with(|u| u.repository.push_tag(&name, ObjectKind::Tag, raw));
        it.cycle()
    };
    0, "the tag is gone before it was claimed", Came::Waits("pending_signature"), NOTHING, |it| {
        let statement = it.removal();
        let name = it.push("opal", &statement);
        it.sim.with(|u| u.repository.delete_tag(&name));
        it.cycle()
    };
    0, "the tag is gone after its step began", Came::Runs(1), TAKEN_UP_AGAIN, |it| {
        let statement = it.removal();
        let name = it.push("opal", &statement);
        it.sim.with(|u| {
            u.fuse.effects = 0;
            u.fuse.blow = Some((2, Timing::After));
        });
        assert!(it.sim.cycle(&it.policy, it.now).is_err());
        it.sim.with(|u| {
            u.fuse.blow = None;
            u.repository.delete_tag(&name);
        });
        let _ = it.cycle();
        // Even past the window.
        it.now = it.now.plus(5 * 86_400);
        it.cycle()
    };
    0, "an ancestor whose step is still planned", Came::Runs(1), REMOVED, |it| {
        let statement = it.removal();
        it.commit(&without("emo bea"));
        let _ = it.cycle();
        it.push("opal", &statement);
        it.cycle()
    };
    0, "a key that nobody knows", Came::Stranger(Code::UnknownSigner), NOTHING, |it| {
        let statement = it.removal();
        it.push("eve", &statement);
        it.cycle()
    };
    0, "an expired key", Came::Stranger(Code::KeyExpired), NOTHING, |it| {
        let now = it.now;
        it.sim.with(|u| {
            let root = u.trust.as_mut().expect("a root");
            root.version = 2;
            root.keys[0].not_after = Some(now.plus(-1));
        });
        let statement = it.removal();
        it.push("opal", &statement);
        it.cycle()
    };
    0, "a key that was dropped before its release was used", Came::Stranger(Code::Revoked), NOTHING, |it| {
        let statement = it.removal();
        it.push("opal", &statement);
        it.sim.with(|u| u.trust = Some(opal_dropped()));
        it.cycle()
    };
    0, "another state repository", Came::Refused(Code::WrongRepo), NOTHING, |it| {
        it.changed(|statement| statement.repo.0[0] ^= 1)
    };
    0, "a nonce that was used, in a new tag", Came::Refused(Code::Replay), REMOVED, |it| {
        let statement = it.removal();
        it.push("opal", &statement);
        let _ = it.cycle();
        let mut again = statement;
        again.reason = "once more".into();
        assert_eq!(again.nonce, Nonce([it.nonce; 16]));
        it.push("olga", &again);
        it.cycle()
    };
};

/// Version 2 of the root, without opal.
pub(crate) fn opal_dropped() -> TrustRoot {
    let mut root = signer::root(2, &["olga"]);
    root.revoked = dropped("opal");
    root
}

pub(crate) fn dropped(name: &str) -> BTreeSet<muster_core::release::Fingerprint> {
    let key = Signer::named(name).trusted(name, Role::Operational).key;
    [key.fingerprint()].into()
}

/// Pushes a rotation that these people signed.
pub(crate) fn rotate(world: &World, next: &TrustRoot, who: &[&str]) {
    let text = next.render();
    let commit = world.sim.facts().adopted;
    for name in who {
        let signer = Signer::named(name);
        let tag = rotation::tag_name(text.as_bytes(), next.version, &signer.blob);
        let raw = signer.tag(&commit, &tag, &text, world.now);
        world
            .sim
            .with(|it| it.repository.push_tag(&tag, ObjectKind::Tag, raw));
    }
}
