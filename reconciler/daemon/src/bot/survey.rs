//! What is known of every host, and what would happen there. Nothing of it is decided twice: what a host told is read once, and
//! what the protected branch asks of it is planned once, until one of the two changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use muster_core::commit::CommitId;
use muster_core::executor::Executor;
use muster_core::facts::Facts;
use muster_core::fleet::versions::Version;
use muster_core::fleet::{ExecutorReport, Fleet, LedgerHead};
use muster_core::gate::{Approvals, Verdict, judge};
use muster_core::ledger::held::HeldSteps;
use muster_core::plan::{self, Input, Plan};
use muster_core::repo::HostFile;
use muster_core::report::{self, Host, ReadAt, Unknown, UnknownHost};
use muster_core::rooms::{self, Desired, Policy, StateRepo};
use muster_core::time::{Date, Time};

use super::packed::Packed;
use crate::cycle::chain;

/// All hosts.
#[derive(Default)]
pub(super) struct Survey {
    hosts: BTreeMap<Executor, Surveyed>,
}

/// One host.
struct Surveyed {
    standing: Result<LedgerHead, String>,
    /// What it told with its newest commit. With many people in it, it is unpacked for as long as it is looked at and no longer.
    told: Option<Result<Arc<Packed>, String>>,
    /// The little of it that is always kept at hand.
    brief: Option<Arc<Brief>>,
    /// What the protected branch asks of it.
    base: Option<Based>,
    /// What the commit asks that it enforces, where that is another one.
    own: Option<Arc<Planned>>,
}

/// What the protected branch asks of a host, and when that was worked out.
struct Based {
    protected: CommitId,
    today: Date,
    planned: Arc<Planned>,
}

/// What of a host is needed to record what became of a merge.
pub(super) struct Brief {
    /// What it knows of its own doing, without the people.
    pub(super) facts: Facts,
    /// What waits there.
    pub(super) held: Option<HeldSteps>,
}

/// A plan for one host, and what it came from.
pub(super) struct Planned {
    pub(super) policy: Policy,
    desired: Arc<Desired>,
    pub(super) plan: Plan,
    pub(super) verdict: Verdict,
}

/// When a plan is made.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Time,
    /// How old what a host told may be, in seconds.
    pub(super) stale: u32,
}

impl Moment {
    fn today(self) -> Date {
        self.now.date()
    }
}

/// What is planned for all hosts, to be shown.
#[derive(Default)]
pub(super) struct Outlook {
    hosts: Vec<HostOutlook>,
    unknown: Vec<(Executor, Unknown<String>)>,
}

struct HostOutlook {
    planned: Arc<Planned>,
    base: Option<Arc<Planned>>,
    read: Time,
}

impl Outlook {
    /// As reports take it.
    pub(super) fn hosts(&self) -> Vec<Host<'_>> {
        self.hosts
            .iter()
            .map(|it| Host {
                executor: it.planned.policy.executor(),
                plan: &it.planned.plan,
                verdict: &it.planned.verdict,
                base: it.base.as_ref().map(|it| &it.plan),
                read: ReadAt::At(it.read),
            })
            .collect()
    }

    /// Those that nothing could be planned for.
    pub(super) fn unknown(&self) -> Vec<UnknownHost<'_>> {
        self.unknown
            .iter()
            .map(|(executor, why)| UnknownHost {
                executor,
                why: why.as_str(),
            })
            .collect()
    }
}

impl Survey {
    /// Takes in where every ledger stands now.
    pub(super) fn renew(&mut self, found: BTreeMap<Executor, Result<LedgerHead, String>>) {
        self.hosts
            .retain(|executor, _| found.contains_key(executor));
        for (executor, standing) in found {
            let ledger =
                |it: &Result<LedgerHead, String>| it.as_ref().ok().map(|it| it.ledger.clone());
            match self.hosts.get_mut(&executor) {
                Some(known) => {
                    if ledger(&known.standing) != ledger(&standing) {
                        known.told = None;
                        known.brief = None;
                        known.base = None;
                        known.own = None;
                    }
                    known.standing = standing;
                }
                None => {
                    let known = Surveyed {
                        standing,
                        told: None,
                        brief: None,
                        base: None,
                        own: None,
                    };
                    self.hosts.insert(executor, known);
                }
            }
        }
    }

    /// A number that differs when what is told of hosts could.
    pub(super) fn fingerprint(&self, at: Moment) -> u64 {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut hasher = DefaultHasher::new();
        for (executor, known) in &self.hosts {
            executor.hash(&mut hasher);
            match &known.standing {
                Ok(standing) => {
                    standing.ledger.hash(&mut hasher);
                    standing.version.hash(&mut hasher);
                    let fresh = report::freshness::<&str>(standing.read, at.now, at.stale);
                    fresh.hash(&mut hasher);
                }
                Err(why) => why.hash(&mut hasher),
            }
        }
        at.today().hash(&mut hasher);
        hasher.finish()
    }

    /// Everybody who has a ledger.
    pub(super) fn executors(&self) -> impl Iterator<Item = &Executor> {
        self.hosts.keys()
    }

    /// Which version of muster each of them runs, where it said so.
    pub(super) fn versions(&self) -> BTreeMap<Executor, Version> {
        self.hosts
            .iter()
            .filter_map(|(executor, known)| {
                let standing = known.standing.as_ref().ok()?;
                Some((executor.clone(), standing.version?))
            })
            .collect()
    }

    /// Where somebody's ledger stands.
    pub(super) fn standing(&self, executor: &Executor) -> Option<&Result<LedgerHead, String>> {
        self.hosts.get(executor).map(|it| &it.standing)
    }

    /// What somebody told, in brief.
    pub(super) fn brief<F: Fleet>(
        &mut self,
        executor: &Executor,
        fleet: &F,
    ) -> Result<Arc<Brief>, String> {
        let Some(known) = self.hosts.get_mut(executor) else {
            return Err("there is no ledger".to_owned());
        };
        if let Some(brief) = &known.brief {
            return Ok(Arc::clone(brief));
        }
        let told = known.told(executor, fleet)?;
        let read = unpack(executor, &told);
        let brief = read.map(|told| Arc::new(Brief::of(told)));
        known.learn(brief.clone());
        brief
    }

    /// Whether it is known already what `commit`, the protected branch's head, asks of every host whose word is fresh: then
    /// [`Survey::ground`] would find nothing to do. Where there is no such host, nobody knows whether it can be read at all.
    pub(super) fn is_grounded(&self, commit: &CommitId, at: Moment) -> bool {
        let mut some = false;
        self.hosts.values().all(|known| {
            let based = known.is_based(commit, at);
            some |= based;
            based || known.fresh(at).is_err()
        }) && some
    }

    /// Makes sure that it is known what `commit`, the protected branch's head, asks of every host whose word is fresh.
    pub(super) fn ground<F: Fleet>(
        &mut self,
        repo: &StateRepo<'_>,
        commit: &CommitId,
        at: Moment,
        fleet: &F,
    ) {
        let mut due = Vec::new();
        for (executor, known) in &mut self.hosts {
            if !known.is_based(commit, at)
                && known.fresh(at).is_ok()
                && let Ok(told) = known.told(executor, fleet)
            {
                due.push((executor.clone(), told));
            }
        }
        let shared = Shares::new(repo, at.today());
        let planned = in_parallel(due, |(executor, told)| {
            let planned = unpack(&executor, &told).map(|told| {
                let desired = shared.of(&told.policy);
                let planned = Arc::new(plan_for(&told, commit, desired, at));
                (planned, Arc::new(Brief::of(told)))
            });
            (executor, planned)
        });
        for (executor, planned) in planned {
            let Some(known) = self.hosts.get_mut(&executor) else {
                continue;
            };
            let brief = planned.map(|(planned, brief)| {
                known.base = Some(Based {
                    protected: commit.clone(),
                    today: at.today(),
                    planned,
                });
                brief
            });
            known.learn(brief);
        }
    }

    /// What the protected branch asks of every host, as it was last worked out.
    pub(super) fn grounded(&self, executor: &Executor) -> Option<&Arc<Planned>> {
        let based = self.hosts.get(executor)?.base.as_ref()?;
        Some(&based.planned)
    }

    /// Whom two state repositories do not ask the same of, on whatever host whose policy is known.
    pub(super) fn differences(
        &self,
        before: &StateRepo<'_>,
        after: &StateRepo<'_>,
        at: Moment,
    ) -> BTreeSet<String> {
        let (before, after) = (
            Shares::new(before, at.today()),
            Shares::new(after, at.today()),
        );
        let mut compared: Vec<[Arc<Desired>; 2]> = Vec::new();
        let mut names = BTreeSet::new();
        for known in self.hosts.values() {
            let Some(base) = &known.base else { continue };
            let pair = [&before, &after].map(|it| it.of(&base.planned.policy));
            let is_pair = |it: &&[Arc<Desired>; 2]| {
                Arc::ptr_eq(&it[0], &pair[0]) && Arc::ptr_eq(&it[1], &pair[1])
            };
            if compared.iter().find(is_pair).is_none() {
                names.extend(pair[0].differences(&pair[1]));
                compared.push(pair);
            }
        }
        names
    }

    /// What a host's own commit asks of it; `repo` is that commit's.
    pub(super) fn own<F: Fleet>(
        &mut self,
        executor: &Executor,
        repo: &StateRepo<'_>,
        commit: &CommitId,
        at: Moment,
        fleet: &F,
    ) -> Result<Arc<Planned>, String> {
        let known = self
            .hosts
            .get_mut(executor)
            .ok_or_else(|| "there is no ledger".to_owned())?;
        if let Some(own) = known.own.as_ref().filter(|it| it.plan.commit() == commit) {
            return Ok(Arc::clone(own));
        }
        let told = known.told(executor, fleet)?;
        let told = unpack(executor, &told)?;
        let desired = Arc::new(rooms::desired(repo, &told.policy, at.today()));
        let planned = Arc::new(plan_for(&told, commit, desired, at));
        known.own = Some(Arc::clone(&planned));
        Ok(planned)
    }

    /// What merging `repo` would do everywhere. [`Survey::ground`] came before it.
    pub(super) fn outlook<F: Fleet>(
        &mut self,
        repo: &StateRepo<'_>,
        head: &CommitId,
        at: Moment,
        fleet: &F,
    ) -> Outlook {
        let mut outlook = Outlook::default();
        let shared = Shares::new(repo, at.today());
        let same = Comparison::default();
        let mut due = Vec::new();
        for (executor, known) in &mut self.hosts {
            let read = match known.fresh(at) {
                Ok(read) => read,
                Err(why) => {
                    outlook.unknown.push((executor.clone(), why));
                    continue;
                }
            };
            let base = known.base.as_ref().map(|it| Arc::clone(&it.planned));
            // Where the proposal asks for nothing else, nothing else would happen.
            if let Some(base) = &base
                && same.holds(&base.desired, &shared.of(&base.policy))
            {
                outlook.hosts.push(HostOutlook {
                    planned: Arc::clone(base),
                    base: Some(Arc::clone(base)),
                    read,
                });
                continue;
            }
            match known.told(executor, fleet) {
                Ok(told) => due.push((executor.clone(), told, base, read)),
                Err(why) => outlook
                    .unknown
                    .push((executor.clone(), Unknown::Unreadable(why))),
            }
        }
        let planned = in_parallel(due, |(executor, told, base, read)| {
            let seen = unpack(&executor, &told).map(|told| HostOutlook {
                planned: Arc::new(plan_for(&told, head, shared.of(&told.policy), at)),
                base,
                read,
            });
            (executor, seen)
        });
        for (executor, seen) in planned {
            match seen {
                Ok(seen) => outlook.hosts.push(seen),
                Err(why) => outlook.unknown.push((executor, Unknown::Unreadable(why))),
            }
        }
        let named = repo
            .documents
            .hosts
            .keys()
            .map(|host| Executor::Host(host.clone()));
        outlook.unknown.extend(
            named
                .filter(|it| !self.hosts.contains_key(it))
                .map(|it| (it, Unknown::NeverSeen)),
        );
        outlook
    }

    /// What is there without any proposal, on hosts that enforce the protected branch's head.
    pub(super) fn as_it_is(&mut self, commit: &CommitId, at: Moment) -> Outlook {
        let mut outlook = Outlook::default();
        for known in self.hosts.values() {
            let adopted = known.brief.as_ref().map(|it| &it.facts.adopted);
            if let (Ok(read), Some(base), true) =
                (known.fresh(at), &known.base, adopted == Some(commit))
            {
                outlook.hosts.push(HostOutlook {
                    planned: Arc::clone(&base.planned),
                    base: None,
                    read,
                });
            }
        }
        outlook
    }
}

/// Unpacks what a host told, all of it.
fn unpack(executor: &Executor, packed: &Packed) -> Result<ExecutorReport, String> {
    let files = packed.files().map_err(|error| chain(&error))?;
    ExecutorReport::read(executor, &files)
}

impl Brief {
    fn of(told: ExecutorReport) -> Self {
        Self {
            facts: Facts {
                known: rooms::Known::new(told.executor.kind()),
                ..told.facts
            },
            held: told.held,
        }
    }
}

impl Surveyed {
    /// Whether it was worked out today what `commit` asks of it.
    fn is_based(&self, commit: &CommitId, at: Moment) -> bool {
        let base = self.base.as_ref();
        base.is_some_and(|it| it.protected == *commit && it.today == at.today())
    }

    /// When it was read, if that is recent enough.
    fn fresh(&self, at: Moment) -> Result<Time, Unknown<String>> {
        match &self.standing {
            Ok(standing) => report::freshness(standing.read, at.now, at.stale),
            Err(why) => Err(Unknown::Unreadable(why.clone())),
        }
    }

    fn told<F: Fleet>(&mut self, executor: &Executor, fleet: &F) -> Result<Arc<Packed>, String> {
        if let Some(told) = &self.told {
            return told.clone();
        }
        let standing = self.standing.as_ref().map_err(String::clone)?;
        let told = fleet
            .told(executor, &standing.ledger)
            .and_then(|files| Packed::of(&files).map_err(|error| chain(&error)))
            .map(Arc::new);
        self.told = Some(told.clone());
        told
    }

    /// Keeps what came of unpacking it; that it cannot be read is not found out again and again.
    fn learn(&mut self, brief: Result<Arc<Brief>, String>) {
        match brief {
            Ok(brief) => self.brief = Some(brief),
            Err(why) => self.told = Some(Err(why)),
        }
    }
}

/// Plans one host out of what it told.
fn plan_for(
    told: &ExecutorReport,
    commit: &CommitId,
    desired: Arc<Desired>,
    at: Moment,
) -> Planned {
    let ExecutorReport {
        executor: _,
        facts,
        policy,
        observed,
        held: _,
    } = told;
    let observed = observed.recalled(&rooms::question_of_plan(&desired, &facts.known));
    let plan = plan::plan(&Input {
        policy,
        commit,
        today: at.today(),
        desired: &desired,
        observed: &observed,
        facts,
    });
    let approvals = Approvals::of_begun(facts);
    let bounds = plan.bounds(policy, &observed, facts, at.now);
    let verdict = judge(&plan, &bounds, facts, &approvals, at.now);
    Planned {
        policy: policy.clone(),
        desired,
        plan,
        verdict,
    }
}

/// What a state repository asks of hosts: once for all those of which it asks the same.
struct Shares<'r> {
    repo: &'r StateRepo<'r>,
    today: Date,
    known: Mutex<Vec<Share<'r>>>,
}

struct Share<'r> {
    file: Option<&'r HostFile>,
    instances: bool,
    desired: Arc<Desired>,
}

impl<'r> Shares<'r> {
    fn new(repo: &'r StateRepo<'r>, today: Date) -> Self {
        Self {
            repo,
            today,
            known: Mutex::new(Vec::new()),
        }
    }

    fn of(&self, policy: &Policy) -> Arc<Desired> {
        // Only what is asked of hosts is asked of many alike.
        let Policy::Accounts(of_host) = policy else {
            return Arc::new(rooms::desired(self.repo, policy, self.today));
        };
        let file = self.repo.documents.hosts.get(of_host.executor.name());
        let instances = of_host.runs_instances();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let alike = |it: &&Share<'_>| it.instances == instances && it.file == file;
        if let Some(share) = known.iter().find(alike) {
            return Arc::clone(&share.desired);
        }
        let desired = Arc::new(rooms::desired(self.repo, policy, self.today));
        known.push(Share {
            file,
            instances,
            desired: Arc::clone(&desired),
        });
        desired
    }
}

/// Whether two lists ask for the same; each pair is compared once.
#[derive(Default)]
struct Comparison(Mutex<Vec<Compared>>);

struct Compared {
    a: Arc<Desired>,
    b: Arc<Desired>,
    same: bool,
}

impl Comparison {
    fn holds(&self, a: &Arc<Desired>, b: &Arc<Desired>) -> bool {
        if Arc::ptr_eq(a, b) {
            return true;
        }
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pair = |it: &&Compared| Arc::ptr_eq(&it.a, a) && Arc::ptr_eq(&it.b, b);
        if let Some(Compared { same, .. }) = known.iter().find(pair) {
            return *same;
        }
        let same = a == b;
        known.push(Compared {
            a: Arc::clone(a),
            b: Arc::clone(b),
            same,
        });
        same
    }
}

/// Does the same with many things, on as many processors as there are; the order stays.
fn in_parallel<T: Send, R: Send>(things: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if threads == 1 || things.len() < 2 {
        return things.into_iter().map(work).collect();
    }
    let queue = Mutex::new(things.into_iter().enumerate());
    let next = || {
        let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.next()
    };
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            while let Some((place, thing)) = next() {
                done.push((place, work(thing)));
            }
            done
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        let joined = workers.into_iter().map(|it| it.join());
        joined
            .flat_map(|it| it.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}
