use super::*;

const DAY: i64 = 86_400;
const YEAR: i64 = 365 * DAY;
/// When these stories begin.
const BEGIN: Time = Time(1_795_361_159);

/// A machine with two clocks, and what is remembered of them.
struct Machine {
    /// The truth.
    at: Time,
    booted: Time,
    boots: u32,
    /// How far the clock is ahead of the truth.
    ahead: i64,
    service: TimeService,
    latest: Time,
    clock: Clock,
}

impl Machine {
    fn new() -> Self {
        let mut machine = Self {
            at: BEGIN,
            booted: BEGIN.plus(-1_000),
            boots: 0,
            ahead: 0,
            service: TimeService::Silent,
            latest: BEGIN,
            clock: Clock::default(),
        };
        machine.clock = Clock::beginning(&machine.reading());
        machine
    }

    fn reading(&self) -> Reading {
        Reading {
            wall: self.at.plus(self.ahead),
            boot: self.boots.to_string(),
            uptime: self.at.0 - self.booted.0,
        }
    }

    fn passes(&mut self, seconds: i64) -> &mut Self {
        self.at = self.at.plus(seconds);
        self
    }

    fn boots_after(&mut self, seconds: i64) -> &mut Self {
        self.passes(seconds).booted = self.at;
        self.boots += 1;
        self
    }

    /// How far the moment that is gone by is ahead of the truth, and the matter.
    fn hears(&mut self) -> (i64, Option<&'static str>) {
        let (reading, service) = (self.reading(), self.service);
        let Moment { now, matter } = self.clock.hear(self.latest, &reading, &mut || service);
        assert!(now >= self.latest, "never before the last record");
        (now.0 - self.at.0, matter.map(|it| it.word()))
    }

    /// The same, with a record of that moment.
    fn records(&mut self) -> (i64, Option<&'static str>) {
        let heard = self.hears();
        self.latest = self.at.plus(heard.0);
        heard
    }

    fn accepts(&mut self) -> Result<(), NotAccepted> {
        let built = BEGIN.plus(-30 * DAY);
        let reading = self.reading();
        let Accepted { at } = self.clock.accept(self.latest, &reading, built, || None)?;
        self.latest = at;
        Ok(())
    }
}

#[test]
fn a_jump_that_comes_back_leaves_nothing_behind() {
    for ahead in [YEAR, 10 * YEAR, 30 * DAY, 2 * 3_600, STEP + 60] {
        for held in [1, 60, HOLD / 2, HOLD - 60] {
            let mut it = Machine::new();
            assert_eq!(it.passes(600).records(), (0, None));
            it.ahead = ahead;
            for part in 0..4 {
                assert_eq!(it.records(), (0, Some("ahead")), "{ahead} {held} {part}");
                it.passes(held / 4);
            }
            it.ahead = 0;
            assert_eq!(it.records(), (0, None), "{ahead} {held}");
            assert_eq!(it.passes(DAY).records(), (0, None), "{ahead} {held}");
        }
    }
}

#[test]
fn a_jump_that_holds_or_that_the_time_service_vouches_for_is_believed() {
    let mut it = Machine::new();
    it.ahead = YEAR;
    assert_eq!(it.records(), (0, Some("ahead")));
    assert_eq!(it.passes(HOLD - 1).records(), (0, Some("ahead")));
    assert_eq!(it.passes(1).records(), (YEAR, None));

    // Another jump while one is doubted begins anew.
    let mut it = Machine::new();
    it.ahead = YEAR;
    assert_eq!(it.records(), (0, Some("ahead")));
    it.ahead = 2 * YEAR;
    assert_eq!(it.passes(HOLD - 1).records(), (0, Some("ahead")));
    assert_eq!(it.passes(HOLD - 1).records(), (0, Some("ahead")));

    let mut it = Machine::new();
    it.ahead = YEAR;
    it.service = TimeService::Synchronised;
    assert_eq!(it.records(), (YEAR, None));
}

#[test]
fn what_time_services_do_is_no_matter() {
    let mut it = Machine::new();
    for ahead in [0, 30, 0, -30, 0, 1, -1, 90, 0] {
        it.ahead = ahead;
        assert_eq!(it.passes(10).hears().1, None, "{ahead}");
        assert_eq!(it.records().1, None, "{ahead}");
    }
    // A clock that runs fast by a hundredth is followed, for as long as somebody looks.
    for _ in 0..1_000 {
        it.ahead += 3;
        let ahead = it.ahead;
        assert_eq!(it.passes(300).records(), (ahead, None));
    }
}

#[test]
fn a_dead_battery_is_told_and_forgotten_once_the_clock_is_right() {
    // 1970, and 2036, after a week of no power.
    for ahead in [-BEGIN.0, 10 * YEAR] {
        for service in [TimeService::Silent, TimeService::Synchronised] {
            let mut it = Machine::new();
            it.records();
            it.boots_after(7 * DAY).ahead = ahead;
            let (now, matter) = it.records();
            assert!((-7 * DAY..=0).contains(&now), "{now}");
            assert!(matter.is_some());
            // Time goes on meanwhile: what is to be tried again is.
            let (later, _) = it.passes(600).records();
            assert_eq!(later, now);
            it.ahead = 0;
            it.service = service;
            let (now, matter) = it.passes(60).records();
            match service {
                TimeService::Synchronised => assert_eq!((now, matter), (0, None)),
                TimeService::Silent => {
                    assert_eq!(matter, Some("ahead"));
                    assert_eq!(it.passes(HOLD).records(), (0, None));
                }
            }
        }
    }
}

#[test]
fn a_machine_that_was_off_is_believed_and_one_that_was_off_for_long_after_a_while() {
    let mut it = Machine::new();
    assert_eq!(it.boots_after(OFF - 1).records(), (0, None));
    assert_eq!(it.boots_after(30 * DAY).records().1, Some("ahead"));
    assert_eq!(it.passes(HOLD).records(), (0, None));

    // A virtual machine that is resumed counts no seconds in between; its time service then sets its clock.
    let mut it = Machine::new();
    let stood = 30 * DAY;
    it.passes(stood).booted = it.booted.plus(stood);
    it.ahead = -stood;
    assert_eq!(it.records(), (-stood, None));
    it.ahead = 0;
    assert_eq!(it.records(), (-stood, Some("ahead")));
    it.service = TimeService::Synchronised;
    assert_eq!(it.records(), (0, None));
}

#[test]
fn a_clock_that_is_set_back_behind_no_record_is_gone_by_and_told() {
    let mut it = Machine::new();
    it.passes(3 * DAY).hears();
    it.ahead = -DAY;
    assert_eq!(it.hears(), (-DAY, Some("back")));
    assert_eq!(it.passes(HOLD).hears(), (-DAY, None));
}

#[test]
fn only_a_person_goes_back_and_no_further_than_before_the_jump() {
    let mut it = Machine::new();
    it.passes(600).records();
    let before = it.latest;
    it.ahead = YEAR;
    it.records();
    it.passes(HOLD).records();
    assert_eq!(it.passes(60).records(), (YEAR, None), "it held");
    it.ahead = 0;
    // Nothing goes back by itself, whoever vouches for the clock, and time does not stand still.
    it.service = TimeService::Synchronised;
    assert_eq!(it.passes(60).records(), (YEAR, Some("behind")));
    assert_eq!(it.boots_after(60).records().1, Some("behind"));
    let (now, _) = it.passes(DAY).records();
    let (later, _) = it.passes(DAY).records();
    assert_eq!(now, later);

    // Not to before the last record before the jump, and not to before the program was built.
    it.ahead = before.0 - 1 - ROUNDING - it.at.0;
    let (wall, latest) = (it.reading().wall, it.latest);
    assert_eq!(it.accepts(), Err(NotAccepted::NoJump { wall, latest }));
    it.ahead = -YEAR;
    assert!(matches!(it.accepts(), Err(NotAccepted::BeforeBuild { .. })));
    it.ahead = 0;
    assert_eq!(it.accepts(), Ok(()));
    assert_eq!(it.records(), (0, None));
    assert!(matches!(it.accepts(), Err(NotAccepted::Well(_))));
    assert_eq!(it.passes(DAY).records(), (0, None));
    assert_eq!(it.boots_after(3_600).records(), (0, None));

    // A clock that is set back where nothing jumped is what is wrong.
    it.passes(DAY).records();
    it.ahead = -3_600;
    let (wall, latest) = (it.reading().wall, it.latest);
    assert_eq!(it.records().1, Some("behind"));
    assert_eq!(it.accepts(), Err(NotAccepted::NoJump { wall, latest }));
}

#[test]
fn a_person_can_vouch_for_a_jump_ahead_and_take_it_back() {
    let mut it = Machine::new();
    it.passes(600).records();
    it.ahead = YEAR;
    assert_eq!(it.records(), (0, Some("ahead")));
    assert_eq!(it.accepts(), Ok(()));
    assert_eq!(it.records(), (YEAR, None));
    it.ahead = 0;
    assert_eq!(it.passes(60).records(), (YEAR, Some("behind")));
    assert_eq!(it.accepts(), Ok(()));
    assert_eq!(it.passes(60).records(), (0, None));
}

#[test]
fn jumps_behind_jumps_are_all_gone_back_over() {
    let mut it = Machine::new();
    it.passes(600).records();
    for years in [1, 3, 10] {
        it.ahead = years * YEAR;
        it.records();
        assert_eq!(it.passes(HOLD).records(), (it.ahead, None));
    }
    it.ahead = 0;
    assert_eq!(it.records().1, Some("behind"));
    assert_eq!(it.accepts(), Ok(()));
    assert_eq!(it.records(), (0, None));
}

#[test]
fn records_show_a_jump_and_their_steady_going_on_shows_none() {
    let at = |hours: i64| BEGIN.plus(hours * 3_600);
    let records = [at(0), at(1), at(2), at(9_000), at(9_001)];
    let jump = |hours| Jump::across(at(hours), &records);
    let (from, to) = (at(2), at(9_000));
    assert_eq!(jump(5), Some(Jump { from, to }));
    assert_eq!(jump(2), Some(Jump { from, to }));
    // A record that was rounded ahead of the clock is before the jump, too.
    let just_before = Jump::across(at(2).plus(-ROUNDING), &records);
    assert_eq!(just_before, Some(Jump { from, to }));
    let earlier = Jump::across(at(2).plus(-1 - ROUNDING), &records);
    assert_eq!(earlier.map(|it| it.to), Some(from));
    assert_eq!(jump(9_001), None, "nothing is later");
    let steady: Vec<Time> = (0..20).map(|it| BEGIN.plus(it * 600)).collect();
    assert_eq!(Jump::across(BEGIN.plus(3_000), &steady), None);
    // An executor that began behind the jump has no record before it.
    assert!(Jump::across(BEGIN.plus(-YEAR), &steady).is_some());
    assert_eq!(Jump::across(BEGIN, &[]), None);
}

#[test]
fn without_a_memory_the_last_record_is_what_there_is() {
    for (passed, matter) in [(7 * DAY, None), (YEAR, Some("ahead"))] {
        let mut it = Machine::new();
        it.passes(passed).clock = Clock::default();
        assert_eq!(it.hears().1, matter);
    }
}

#[test]
fn what_is_worth_writing_down_is_what_a_later_boot_does_not_know() {
    let mut it = Machine::new();
    it.hears();
    let before = it.clock.clone();
    it.passes(60).hears();
    assert!(!it.clock.tells_more_than(&before));
    it.passes(HOLD).hears();
    assert!(it.clock.tells_more_than(&before));
    let before = it.clock.clone();
    it.ahead = YEAR;
    it.hears();
    assert!(
        it.clock.tells_more_than(&before),
        "a doubt outlives a process"
    );
    assert!(Clock::default().tells_more_than(&before));
}

#[test]
fn nothing_overflows_and_nothing_panics() {
    let edges = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    for wall in edges {
        for latest in edges {
            for uptime in [0, 1, i64::MAX / 2] {
                let mut clock = Clock::default();
                for uptime in [0, uptime] {
                    let reading = Reading {
                        wall: Time(wall),
                        boot: String::new(),
                        uptime,
                    };
                    let moment = clock.hear(Time(latest), &reading, &mut || TimeService::Silent);
                    assert!(moment.now >= Time(latest) && !format!("{moment:?}").is_empty());
                    let mut other = clock.clone();
                    let _ = other.accept(Time(latest), &reading, Time(0), || None);
                }
            }
        }
    }
}
