//! What is known of every host, and what would happen there. Nothing of it is decided twice: what a host told is read once, and
//! what the protected branch asks of it is planned once, until one of the two changes.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::{Arc, PoisonError};

use muster_core::commit::CommitId;
use muster_core::desired::{self, Desired};
use muster_core::facts::Facts;
use muster_core::fleet::{Fleet, Standing, Told};
use muster_core::gate::{Approvals, Verdict, judge};
use muster_core::ledger::held::HeldSteps;
use muster_core::plan::{self, Input, Plan};
use muster_core::policy::{Executor, Policy};
use muster_core::repo::{HostFile, StateRepo};
use muster_core::report::{self, Host, Recorded, Unknown, UnknownHost};
use muster_core::time::{Date, Time};

/// So many people are kept in memory over all hosts, at half a kilobyte or more each; what hosts beyond that told is read again
/// when it is needed.
const PEOPLE_KEPT: usize = 150_000;

/// So many people are planned for at a time: of what is not kept no more than that is in memory.
const PEOPLE_AT_ONCE: usize = 40_000;

/// All hosts.
#[derive(Default)]
pub(super) struct Survey {
    hosts: BTreeMap<Executor, Known>,
}

/// One host.
struct Known {
    standing: Result<Standing, String>,
    /// What it told with its newest commit.
    told: Option<Result<Arc<Told>, String>>,
    /// The little of it that is always kept.
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
    hosts: Vec<Seen>,
    unknown: Vec<(Executor, Why)>,
}

struct Seen {
    planned: Arc<Planned>,
    base: Option<Arc<Planned>>,
    read: Time,
}

enum Why {
    Stale { read: Time, limit: u32 },
    NeverSeen,
    Unreadable(String),
}

impl Outlook {
    /// As reports take it.
    pub(super) fn hosts(&self) -> Vec<Host<'_>> {
        self.hosts
            .iter()
            .map(|it| Host {
                policy: &it.planned.policy,
                plan: &it.planned.plan,
                verdict: &it.planned.verdict,
                base: it.base.as_ref().map(|it| &it.plan),
                read: Recorded::At(it.read),
            })
            .collect()
    }

    /// Those that nothing could be planned for.
    pub(super) fn unknown(&self) -> Vec<UnknownHost<'_>> {
        self.unknown
            .iter()
            .map(|(executor, why)| UnknownHost {
                executor,
                why: match why {
                    Why::Stale { read, limit } => Unknown::Stale {
                        read: *read,
                        limit: *limit,
                    },
                    Why::NeverSeen => Unknown::NeverSeen,
                    Why::Unreadable(why) => Unknown::Unreadable(why),
                },
            })
            .collect()
    }
}

impl Survey {
    /// Takes in where every ledger stands now.
    pub(super) fn renew(&mut self, found: BTreeMap<Executor, Result<Standing, String>>) {
        self.hosts
            .retain(|executor, _| found.contains_key(executor));
        for (executor, standing) in found {
            let ledger =
                |it: &Result<Standing, String>| it.as_ref().ok().map(|it| it.ledger.clone());
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
                    let known = Known {
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
            executor.host.hash(&mut hasher);
            match &known.standing {
                Ok(standing) => {
                    standing.ledger.hash(&mut hasher);
                    let fresh = report::freshness(Some(standing.read), at.now, at.stale);
                    fresh.is_ok().hash(&mut hasher);
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

    /// Where somebody's ledger stands.
    pub(super) fn standing(&self, executor: &Executor) -> Option<&Result<Standing, String>> {
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
        known.told(executor, fleet)?;
        known
            .brief
            .clone()
            .ok_or_else(|| "nothing was read".to_owned())
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
        let shared = Shares::new(repo, at.today());
        let mut due = InBatches::new(|(executor, told): (Executor, Arc<Told>)| {
            let desired = shared.of(&told.policy);
            let planned = plan_for(&told, commit, desired, at);
            (executor, planned)
        });
        let mut kept = 0;
        for (executor, known) in &mut self.hosts {
            if !known.is_based(commit, at)
                && known.fresh(at).is_ok()
                && let Ok(told) = known.told(executor, fleet)
            {
                due.push(people_in(&told), (executor.clone(), told));
            }
            known.let_go(&mut kept);
        }
        for (executor, planned) in due.finish() {
            if let Some(known) = self.hosts.get_mut(&executor) {
                known.base = Some(Based {
                    protected: commit.clone(),
                    today: at.today(),
                    planned: Arc::new(planned),
                });
            }
        }
    }

    /// What the protected branch asks of every host, as it was last worked out.
    pub(super) fn grounded(&self, executor: &Executor) -> Option<&Arc<Planned>> {
        let based = self.hosts.get(executor)?.base.as_ref()?;
        Some(&based.planned)
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
        let desired = Arc::new(desired::for_host(repo, &told.policy, at.today()));
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
        let mut due = InBatches::new(|(told, base, read): (Arc<Told>, _, _)| {
            let desired = shared.of(&told.policy);
            Seen {
                planned: Arc::new(plan_for(&told, head, desired, at)),
                base,
                read,
            }
        });
        let mut kept = 0;
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
                outlook.hosts.push(Seen {
                    planned: Arc::clone(base),
                    base: Some(Arc::clone(base)),
                    read,
                });
                continue;
            }
            match known.told(executor, fleet) {
                Ok(told) => due.push(people_in(&told), (told, base, read)),
                Err(why) => outlook
                    .unknown
                    .push((executor.clone(), Why::Unreadable(why))),
            }
            known.let_go(&mut kept);
        }
        outlook.hosts.extend(due.finish());
        let named = repo
            .hosts
            .keys()
            .map(|host| Executor { host: host.clone() });
        outlook.unknown.extend(
            named
                .filter(|it| !self.hosts.contains_key(it))
                .map(|it| (it, Why::NeverSeen)),
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
                outlook.hosts.push(Seen {
                    planned: Arc::clone(&base.planned),
                    base: None,
                    read,
                });
            }
        }
        outlook
    }

    /// Lets go of what can be read again, where it is more than memory is meant for.
    pub(super) fn let_go(&mut self) {
        let mut kept = 0;
        for known in self.hosts.values_mut() {
            known.let_go(&mut kept);
        }
    }
}

/// How many people there are in what a host told, each as often as something is told of them.
fn people_in(told: &Told) -> usize {
    told.facts.people.len() + told.observed.people.len()
}

impl Known {
    /// Whether it was worked out today what `commit` asks of it.
    fn is_based(&self, commit: &CommitId, at: Moment) -> bool {
        let base = self.base.as_ref();
        base.is_some_and(|it| it.protected == *commit && it.today == at.today())
    }

    /// When it was read, if that is recent enough.
    fn fresh(&self, at: Moment) -> Result<Time, Why> {
        let read = match &self.standing {
            Ok(standing) => Some(standing.read),
            Err(why) => return Err(Why::Unreadable(why.clone())),
        };
        report::freshness(read, at.now, at.stale).map_err(|why| match why {
            Unknown::Stale { read, limit } => Why::Stale { read, limit },
            Unknown::NeverSeen => Why::NeverSeen,
            Unknown::Unreadable(why) => Why::Unreadable(why.to_owned()),
        })
    }

    /// Lets go of what it told, where with that of the hosts before it too much is kept.
    fn let_go(&mut self, kept: &mut usize) {
        if let Some(Ok(told)) = &self.told {
            *kept += people_in(told);
            if *kept > PEOPLE_KEPT {
                self.told = None;
            }
        }
    }

    fn told<F: Fleet>(&mut self, executor: &Executor, fleet: &F) -> Result<Arc<Told>, String> {
        if let Some(told) = &self.told {
            return told.clone();
        }
        let standing = self.standing.as_ref().map_err(String::clone)?;
        let told = fleet.told(executor, &standing.ledger).map(Arc::new);
        if let Ok(told) = &told {
            self.brief = Some(Arc::new(Brief {
                facts: Facts {
                    people: BTreeMap::new(),
                    ..told.facts.clone()
                },
                held: told.held.clone(),
            }));
        }
        self.told = Some(told.clone());
        told
    }
}

/// Plans one host out of what it told.
fn plan_for(told: &Told, commit: &CommitId, desired: Arc<Desired>, at: Moment) -> Planned {
    let Told {
        executor: _,
        facts,
        policy,
        observed,
        held: _,
    } = told;
    let observed = observed.recalled(&plan::question(&desired, facts));
    let plan = plan::plan(&Input {
        policy,
        commit,
        today: at.today(),
        desired: &desired,
        observed: &observed,
        facts,
    });
    let approvals = Approvals::of_begun(facts);
    let verdict = judge(&plan, policy, facts, &observed, &approvals, at.now);
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
        let file = self.repo.hosts.get(&policy.executor.host);
        let instances = policy.runs_instances();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let alike = |it: &&Share<'_>| it.instances == instances && it.file == file;
        if let Some(share) = known.iter().find(alike) {
            return Arc::clone(&share.desired);
        }
        let desired = Arc::new(desired::for_host(self.repo, policy, self.today));
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

/// Does the same with many things that are large: of those that weigh too much together, some are done before the others come.
struct InBatches<T, R, W> {
    work: W,
    weight: usize,
    due: Vec<T>,
    done: Vec<R>,
}

impl<T: Send, R: Send, W: Fn(T) -> R + Sync> InBatches<T, R, W> {
    fn new(work: W) -> Self {
        Self {
            work,
            weight: 0,
            due: Vec::new(),
            done: Vec::new(),
        }
    }

    /// Takes one more, with so many people in it.
    fn push(&mut self, people: usize, thing: T) {
        self.weight += people;
        self.due.push(thing);
        if self.weight > PEOPLE_AT_ONCE {
            self.work_off();
        }
    }

    fn work_off(&mut self) {
        let due = std::mem::take(&mut self.due);
        self.done.extend(in_parallel(due, &self.work));
        self.weight = 0;
    }

    /// Everything that came of it, in the order in which it came.
    fn finish(mut self) -> Vec<R> {
        self.work_off();
        self.done
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
