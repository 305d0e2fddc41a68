//! Small worlds: a fleet among honest people, and honest people who look like one in a single respect.
//!
//! Every world has a tier of settled people who teach what is usual; the question is who joins a cohort.

use std::collections::HashSet;

use super::{
    signal::HEARD,
    subject::{Evidence, Run},
    values::mix,
    *,
};
use crate::adapt::BIT;

const MINUTE: u64 = 60 * 1_000_000_000;
const DAYS: u64 = 6;
/// Where the columns are.
const ADDRESS: usize = 0;
const PAYMENT: usize = 1;
const CLIENT: usize = 2;
const TEMPLATE: usize = 3;

fn settings(subjects: usize) -> Settings {
    Settings {
        subjects,
        roles: ["address", "payment", "client", "template", "model"].map(Role::of_name).to_vec(),
        half_life_s: 86_400,
        kinds: (1 << KINDS) - 1,
        new_s: vec![],
        sensitivity: vec![16; 4],
        cohorts: vec![true; 4],
        curve: Curve { floor: 80, doubling: 40, largest: 256, rise: 8, fall: 4 },
        signals: vec![SignalPlan { weight: 16, cap: 64, half_life_s: 86_400 }],
    }
}

/// Numbers that look random, the same each time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 += 1;
        mix(self.0) % bound
    }
}

struct World {
    correlators: Correlators,
    rings: Rings,
    dice: Dice,
    members: HashSet<u32>,
    ever: HashSet<u32>,
    largest: u16,
    changes: Vec<Change>,
    now: u64,
    /// How old all but the residents are, in days.
    age_days: u32,
    /// Whether the tier's total is short.
    crowded: bool,
}

/// How somebody lives.
type Habit = fn(u32, &mut Dice) -> [u32; ATTRIBUTES];

/// One of `kind` numbered `number`; distinct for distinct kinds.
fn value(kind: u32, number: u64) -> u32 {
    mix(u64::from(kind) << 40 | number) as u32 | 1
}

/// At home, with some prompts of one's own and some of a framework that half of everybody uses; a few travel,
/// and fewer have two clients, or a fourth model.
fn resident(account: u32, dice: &mut Dice) -> [u32; ATTRIBUTES] {
    let own = u64::from(account);
    let address = match dice.below(10) {
        0..8 => value(1, own),
        _ if account.is_multiple_of(16) => value(2, dice.below(1 << 40)),
        _ => value(3, own % 5),
    };
    let template = if account.is_multiple_of(2) && dice.below(2) == 0 {
        value(4, dice.below(12))
    } else if account.is_multiple_of(20) {
        value(5, dice.below(1 << 40))
    } else {
        value(5, own << 8 | dice.below(6))
    };
    let client = if account % 128 == 7 { own << 8 | dice.below(2) } else { own % 9 };
    let models = if account % 128 == 9 { 4 } else { 3 };
    [address, value(6, own), value(7, client), template, value(8, dice.below(models)), 0, 0, 0]
}

impl World {
    fn new() -> World {
        World {
            correlators: Correlators::new(settings(2048)),
            rings: Rings::new(2, 1 << 12),
            dice: Dice(1),
            members: HashSet::new(),
            ever: HashSet::new(),
            largest: adapt_one(),
            changes: Vec::new(),
            now: 0,
            age_days: 3,
            crowded: false,
        }
    }

    fn maintain(&mut self) {
        self.correlators.maintain(self.now, &self.rings, 1 << 12, 256, &mut self.changes);
        self.apply();
    }

    fn apply(&mut self) {
        for change in self.changes.drain(..) {
            match change {
                Change::Join { account, .. } => {
                    self.members.insert(account.slot);
                    self.ever.insert(account.slot);
                }
                Change::Leave { account, .. } => {
                    assert!(self.members.remove(&account.slot), "left without having joined");
                }
                Change::Factor { sixteenths, .. } | Change::Parent { sixteenths, .. } => {
                    self.largest = self.largest.max(sixteenths)
                }
                Change::Dissolved { .. } => assert!(self.members.is_empty()),
            }
        }
    }

    fn see(&mut self, account: u32, age_days: u32, attributes: [u32; ATTRIBUTES], amount: u32) {
        let observation = Observation {
            member: Member { slot: account, generation: 1 },
            organization: 0,
            tier: 0,
            attributes,
            age_s: age_days * 86_400,
            amount,
            crowded: self.crowded,
            settled: false,
            at: self.now,
        };
        assert!(self.rings.push(account as usize, &observation));
    }

    /// Now and then, in the hours that are one's own, some requests; about `a_day` in a day.
    fn session(&mut self, account: u32, age_days: u32, hour: u64, a_day: u64, habit: Habit) {
        let awake = (hour + u64::from(account % 6)) % 24 > 8;
        if awake && self.dice.below(315) < a_day {
            for _ in 0..1 + self.dice.below(6) {
                let attributes = habit(account, &mut self.dice);
                let amount = 100 + self.dice.below(400) as u32;
                self.see(account, age_days, attributes, amount);
            }
        }
    }

    /// `days` of `residents` who were there for long, and of others with habits of their own, who came later. Each entry
    /// of `others`: how many, how many requests in a day, whether they sleep, and their habit.
    fn live(&mut self, residents: u32, days: u64, others: &[(u32, u64, bool, Habit)]) {
        for _ in 0..days * 24 * 6 {
            self.now += 10 * MINUTE;
            let hour = self.now / (60 * MINUTE) % 24;
            for account in 0..residents {
                self.session(account, 100, hour, 6, resident);
            }
            let mut first = residents;
            for (count, a_day, sleeps, habit) in others {
                for account in first..first + count {
                    if *sleeps {
                        self.session(account, self.age_days, hour, *a_day, *habit);
                    } else if self.dice.below(144) < *a_day {
                        let attributes = habit(account, &mut self.dice);
                        self.see(account, self.age_days, attributes, 300);
                    }
                }
                first += count;
            }
            self.maintain();
        }
    }

    /// What is known of an account, by kind.
    fn points(&self, slot: u32) -> [u16; KINDS] {
        let account = Member { slot, generation: 1 };
        self.correlators.opinion(account, self.now).map_or([0; KINDS], |opinion| opinion.points)
    }

    /// How many of the accounts in `range` were ever in a cohort.
    fn joined(&self, range: std::ops::Range<u32>) -> usize {
        self.ever.iter().filter(|account| range.contains(account)).count()
    }
}

fn adapt_one() -> u16 {
    crate::adapt::ONE
}

/// Any of forty proxies, any of fifty tasks.
fn drone(account: u32, dice: &mut Dice) -> [u32; ATTRIBUTES] {
    let (proxy, task) = (value(20, dice.below(40)), value(21, dice.below(50)));
    [proxy, value(22, u64::from(account)), value(7, dice.below(9)), task, value(8, 0), 0, 0, 0]
}

#[test]
fn a_fleet_is_caught_and_nobody_else() {
    let mut world = World::new();
    world.live(500, 3, &[]);
    world.live(500, DAYS, &[(80, 20, false, drone)]);
    assert!(world.joined(500..580) >= 76, "{} of 80", world.joined(500..580));
    assert!(world.joined(0..500) <= 5, "{} of 500 honest", world.joined(0..500));
    assert_eq!(world.correlators.cohorts(), 1);
    assert!(world.largest > crate::adapt::ONE && world.largest <= 256);

    // It stops: the members leave, and the cohort is dissolved.
    world.live(500, 12, &[]);
    assert!(world.members.is_empty() && world.correlators.cohorts() == 0);
}

#[test]
fn who_is_new_by_the_policy_does_not_teach_what_is_usual() {
    let points = |new_days: u32| {
        let mut world = World { age_days: 40, ..World::new() };
        world.correlators.retune(Settings { new_s: vec![new_days * 86_400; 4], ..settings(2048) });
        world.live(0, DAYS, &[(200, 6, true, resident), (5, 20, false, drone)]);
        let drone = Member { slot: 202, generation: 1 };
        world
            .correlators
            .opinion(drone, world.now)
            .map_or(0, |opinion| opinion.points.into_iter().sum::<u16>())
    };
    assert!(points(0) > 3 * crate::adapt::BIT, "after thirty days an account teaches");
    assert_eq!(points(60), 0, "unless it counts as new for sixty");
}

#[test]
fn a_campus_keeps_out_of_what_is_forged_in_its_name() {
    fn student(account: u32, dice: &mut Dice) -> [u32; ATTRIBUTES] {
        let template = if dice.below(3) > 0 { value(31, 0) } else { value(5, u64::from(account) << 8) };
        [value(30, dice.below(2)), 0, value(32, 0), template, value(8, dice.below(3)), 0, 0, 0]
    }
    fn forger(account: u32, dice: &mut Dice) -> [u32; ATTRIBUTES] {
        if dice.below(2) == 0 {
            return [value(30, dice.below(2)), 0, value(32, 0), value(31, 0), value(8, 0), 0, 0, 0];
        }
        drone(account, dice)
    }
    let mut world = World::new();
    world.live(500, 3, &[(300, 3, true, student)]);
    world.live(500, DAYS, &[(300, 3, true, student), (30, 40, false, forger), (60, 20, false, drone)]);
    assert!(world.joined(830..890) > 50, "the fleet is caught: {}", world.joined(830..890));
    assert!(world.joined(500..800) <= 3, "{} of 300 on the campus", world.joined(500..800));
    assert!(world.joined(0..500) <= 5, "{} of 500 elsewhere", world.joined(0..500));
}

#[test]
fn what_many_share_ties_nobody() {
    // Behind one carrier's address, with one framework's prompt; an agency of twenty that pays with one card.
    fn carrier(account: u32, dice: &mut Dice) -> [u32; ATTRIBUTES] {
        let mut attributes = resident(2 * account + 1, dice);
        attributes[ADDRESS] = value(40, 0);
        attributes
    }
    fn framework(account: u32, dice: &mut Dice) -> [u32; ATTRIBUTES] {
        let mut attributes = resident(2 * account + 1, dice);
        attributes[TEMPLATE] = value(41, 0);
        attributes
    }
    fn agency(account: u32, dice: &mut Dice) -> [u32; ATTRIBUTES] {
        let mut attributes = resident(2 * account + 1, dice);
        attributes[PAYMENT] = value(42, 0);
        attributes[CLIENT] = value(43, 0);
        attributes
    }
    let mut world = World::new();
    world.live(500, 2, &[]);
    world.live(500, DAYS, &[(200, 8, true, carrier), (200, 8, true, framework), (20, 8, true, agency)]);
    assert!(world.joined(0..920) <= 2, "{:?}", world.ever);
}

/// An observation of who it is alone.
fn named(member: Member) -> Observation {
    Observation { member, age_s: u32::MAX, ..Observation::default() }
}

#[test]
fn no_source_of_signals_puts_anyone_into_a_cohort() {
    let mut world = World::new();
    world.live(1000, 2, &[]);
    let mut counted = 0;
    for round in 0..20 {
        for slot in 0..1000 {
            let account = named(Member { slot, generation: 1 });
            let by = (7, world.now);
            if world.correlators.signal(&account, 0, 100, by, &mut world.changes) {
                counted += 1;
            }
            assert!(!world.correlators.signal(&account, 9, 1, by, &mut world.changes), "{round}");
        }
        world.apply();
    }
    assert_eq!(counted, HEARD);
    assert!(world.correlators.refused_signals() > 15_000);
    world.live(1000, 2, &[]);
    assert!(world.joined(0..1000) <= 5, "{} of 1000", world.joined(0..1000));
}

#[test]
fn signals_weigh_up_to_their_cap_and_fade() {
    let mut world = World::new();
    world.live(60, 3, &[]);
    let account = Member { slot: 4, generation: 1 };
    let day = 24 * 60 * MINUTE;
    for _ in 0..9 {
        world.correlators.signal(&named(account), 0, 1, (5, world.now), &mut world.changes);
    }
    let points = |world: &World, at: u64| {
        world.correlators.opinion(account, at).map(|opinion| opinion.points[Kind::Signal as usize])
    };
    assert_eq!(points(&world, world.now), Some(64));
    assert_eq!(points(&world, world.now + day), Some(32));
    assert_eq!(points(&world, world.now + 20 * day), Some(0));
    assert!(world.correlators.opinion(Member { slot: 4, generation: 2 }, world.now).is_none());
}

#[test]
fn a_pardon_lifts_and_lasts() {
    let mut world = World::new();
    world.live(500, 3, &[]);
    world.live(500, 4, &[(80, 20, false, drone)]);
    let slot = *world.members.iter().find(|slot| **slot >= 500).unwrap();
    let account = Member { slot, generation: 1 };
    let (now, until) = (world.now, world.now + 3 * 24 * 60 * MINUTE);
    assert!(world.correlators.pardon(account, until, now, &mut world.changes));
    world.apply();
    assert!(!world.members.contains(&slot));
    let opinion = world.correlators.opinion(account, world.now).unwrap();
    assert!(opinion.pardoned && opinion.cohort == 0 && opinion.sixteenths == crate::adapt::ONE);
    world.live(500, 2, &[(80, 20, false, drone)]);
    assert!(!world.members.contains(&slot), "pardoned until later");
    world.live(500, 3, &[(80, 20, false, drone)]);
    assert!(world.members.contains(&slot), "and goes on after it");
}

#[test]
fn an_insensitive_tier_has_no_cohort() {
    let mut world = World::new();
    let settings = Settings { sensitivity: vec![0; 4], ..settings(2048) };
    world.correlators = Correlators::new(settings);
    world.live(300, 3, &[]);
    world.live(300, 3, &[(80, 20, false, drone)]);
    assert!(world.ever.is_empty() && world.largest == crate::adapt::ONE);
}

#[test]
fn who_turns_against_its_own_past_is_seen() {
    let mut habits = habit::Habits::new();
    let mut pasts = past::Pasts::new(512);
    let mut dice = Dice(9);
    let mut day = |pasts: &mut past::Pasts, day: u32, turned: bool| {
        for organization in 1..=100u64 {
            let turns = turned && organization == 100;
            // Some have days of twice or half the volume.
            let count = if turns { 2000 } else { 80 << dice.below(3) };
            for request in 0..count {
                let prompt = if turns {
                    value(50, dice.below(60))
                } else {
                    value(51, organization << 8 | dice.below(6))
                };
                let amount = if turns { 700 } else { 250 + dice.below(100) as u32 };
                let now_s = day * 86_400 + (request * 86_000 / count) as u32;
                pasts.add(organization, prompt, amount, now_s, &mut habits, 86_400);
            }
        }
        let points = |organization: u64| pasts.find(organization).map(|past| past.points((day + 1) * 86_400));
        let odd = |organization: &u64| {
            points(*organization).is_some_and(|points| points.iter().any(|points| *points > 0))
        };
        ((1..100).filter(odd).count(), odd(&100))
    };
    for number in 0..4 {
        let (odd, _) = day(&mut pasts, number, false);
        assert!(odd <= 2, "{odd} honest on day {number}");
    }
    for number in 4..7 {
        let (odd, turned) = day(&mut pasts, number, true);
        assert!(turned && odd <= 2, "{odd} honest on day {number}");
    }
}

#[test]
fn memory_is_fixed() {
    let mut world = World::new();
    let bytes = world.correlators.bytes();
    for slot in 0..6_000 {
        let attributes = drone(slot, &mut world.dice);
        world.now += MINUTE;
        world.see(slot, 1, attributes, 1);
        world.maintain();
    }
    assert_eq!(world.correlators.bytes(), bytes);
    assert!(bytes < 2048 * 1200 + (2 << 20), "{bytes}");
    assert!(world.members.len() <= 2048);
}

#[test]
fn the_oddest_hour_of_a_busy_account_is_not_what_it_is_judged_by() {
    const DAY_S: u32 = 24 * 3600;
    let lifted = |length_s: u32, runs: u32| {
        let mut evidence = Evidence::default();
        for _ in 0..runs {
            let part = Run::default().part(length_s, DAY_S);
            evidence.follow(72, part, 0, DAY_S);
        }
        evidence.points(0)
    };
    // A run of half a day goes half of the way, one of an hour a twenty-fourth; a day of odd hours most of it.
    assert_eq!((lifted(DAY_S, 1), lifted(DAY_S / 2, 1), lifted(3600, 1)), (36, 36, 3));
    assert!((45..72).contains(&lifted(3600, 24)));
}

/// The first looks at many who are odd in two ways would else make both usual, before anything is known of them.
#[test]
fn who_is_odd_in_two_ways_at_one_look_teaches_neither() {
    let points_of_the_last = |clients: u64, amount: u32| {
        let mut world = World::new();
        let settings = Settings { cohorts: vec![false; 4], ..settings(2048) };
        world.correlators.retune(settings);
        world.live(500, 4, &[]);
        for account in 500..800 {
            for _ in 0..2 {
                let mut attributes = resident(account, &mut world.dice);
                attributes[CLIENT] = value(60, world.dice.below(clients));
                world.see(account, 100, attributes, amount);
            }
            world.now += MINUTE;
            world.maintain();
        }
        let points = world.points(799);
        [points[Kind::Place as usize], points[Kind::Movement as usize]]
    };
    let [place, movement] = points_of_the_last(1 << 40, 5000);
    assert!(place >= 6 * BIT && movement >= 6 * BIT, "{place} and {movement}");
    // Of one way alone they are teachers, or the rare would become rarer by itself.
    let [_, movement] = points_of_the_last(1, 5000);
    assert!(movement < 4 * BIT, "{movement}");
}

/// Residents' runs are short. What is known of somebody at the requests that they make is not forgotten at more.
#[test]
fn a_look_at_which_too_few_were_seen_leaves_evidence_alone() {
    let mut world = World::new();
    world.live(500, 3, &[]);
    let mut before = [0; KINDS];
    for request in 1..=64 {
        let mut attributes = resident(600, &mut world.dice);
        attributes[CLIENT] = value(60, request);
        world.see(600, 3, attributes, 300);
        world.maintain();
        let points = world.points(600);
        if request > 32 {
            assert_eq!(points, before, "at request {request}");
        }
        before = points;
    }
    assert!(before[Kind::Place as usize] >= 6 * BIT, "{before:?}");
}

/// A fleet that is older than anybody who is new, and odd in two ways that one in 128 of its tier each are.
#[test]
fn less_ties_an_old_fleet_while_its_tier_is_short() {
    fn old(account: u32, dice: &mut Dice) -> [u32; ATTRIBUTES] {
        let mut attributes = resident(2 * account + 1, dice);
        attributes[CLIENT] = if dice.below(3) == 0 {
            value(61, u64::from(account) << 8)
        } else {
            value(7, u64::from(account % 9))
        };
        attributes[4] = value(8, dice.below(4));
        attributes
    }
    let joined = |crowded: bool| {
        let mut world = World { age_days: 100, crowded, ..World::new() };
        world.live(600, 4, &[]);
        world.live(600, DAYS, &[(100, 12, true, old)]);
        (world.joined(600..700), world.joined(0..600))
    };
    let (fleet, honest) = joined(true);
    assert!(fleet >= 80 && honest <= 5, "{fleet} of 100, {honest} of 600 honest");
    // While there is enough for all, two oddities of which each is no great one are left alone.
    assert_eq!(joined(false), (0, 0));
}
