//! A million accounts in 50,000 organizations and 4 tiers: what is measured is how much memory a decision waits for.
//!
//! Every index is drawn at random beforehand. Handles kept in the order of the requests flatter: the hardware
//! prefetches along them (50 ns shown where 220 is true).
//!
//! - *Back to back*: the next decision depends on nothing of the last, and as much of the two overlaps as the hardware
//!   and the atomics on the way allow.
//! - *Waiting*: between two decisions the clock is read, which waits for all earlier loads, and the next index depends
//!   on what it read. A branch on the answer would not do: it is predicted. What the same loop costs without a
//!   decision is taken off.

use std::{
    hint::black_box,
    sync::OnceLock,
    time::{Duration, Instant},
};

use tollgate::{Cost, Identity, Limiter, Subject, Tier};

use super::{READ, Random, Run, admits, cost, governor::Levels, kept, limiter, plan, scaled, tier};

pub const UNIFORM: bool = false;
pub const ZIPF: bool = true;
pub const BACK_TO_BACK: bool = false;
pub const WAITING: bool = true;

const TIERS: [&str; 4] = ["free", "verified", "business", "enterprise"];
const SPENT: [&str; 4] = ["spent_free", "spent_verified", "spent_business", "spent_enterprise"];

pub fn accounts() -> u64 {
    scaled(1_000_000, 1_000)
}

pub fn organizations() -> u64 {
    scaled(50_000, 50)
}

/// Who asks: as a server has it from a request.
struct Request {
    account: String,
    organization: u32,
}

struct Requests {
    all: Vec<Request>,
    organizations: Vec<String>,
    tiers: [String; 4],
    /// Indexes of `all` in the order in which they ask; a power of two of them.
    uniform: Vec<u32>,
    zipf: Vec<u32>,
}

impl Requests {
    fn shared() -> &'static Requests {
        static SHARED: OnceLock<Requests> = OnceLock::new();
        SHARED.get_or_init(Requests::new)
    }

    fn new() -> Requests {
        let mut random = Random(1);
        let (accounts, organizations) = (accounts(), organizations());
        let all = (0..accounts).map(|_| Request {
            account: format!("acct_{:012x}", random.next() >> 16),
            organization: random.below(organizations) as u32,
        });
        let all = all.collect();
        let organizations = (0..organizations).map(|_| format!("org_{:010x}", random.next() >> 24)).collect();
        let asked = scaled(1 << 21, 1 << 10);
        let uniform = (0..asked).map(|_| random.below(accounts) as u32).collect();
        Requests {
            all,
            organizations,
            tiers: TIERS.map(String::from),
            uniform,
            zipf: zipf(&mut random, asked),
        }
    }

    fn order<const DRAW: bool>(&self) -> &[u32] {
        if DRAW == ZIPF { &self.zipf } else { &self.uniform }
    }

    /// An organization's accounts are all in one tier.
    fn tier_of(organization: u32) -> usize {
        organization as usize % TIERS.len()
    }
}

/// Draws by Zipf's law with exponent 0.99 (the usual one of key-value benchmarks), by inversion. Which account has
/// which rank is random too.
fn zipf(random: &mut Random, asked: u64) -> Vec<u32> {
    let mut sum = 0.0;
    let up_to: Vec<f64> = (1..=accounts())
        .map(|rank| {
            sum += (rank as f64).powf(-0.99);
            sum
        })
        .collect();
    let mut of_rank: Vec<u32> = (0..accounts() as u32).collect();
    for place in (1..of_rank.len()).rev() {
        of_rank.swap(place, random.below(place as u64 + 1) as usize);
    }
    let draw = |_| {
        let rank = up_to.partition_point(|up_to| *up_to <= random.unit() * sum);
        of_rank[rank.min(of_rank.len() - 1)]
    };
    (0..asked).map(draw).collect()
}

/// `decide` for one index after the other.
fn walk<const ORDER: bool>(order: &'static [u32], mut decide: impl FnMut(usize) -> bool + 'static) -> Run {
    let mut place = 0;
    let bare = if ORDER == WAITING { cost_of_waiting(order) } else { 0.0 };
    Box::new(move |count| {
        let taken = step::<ORDER>(order, &mut place, count, &mut decide);
        taken.saturating_sub(Duration::from_secs_f64(bare * count as f64))
    })
}

/// Seconds that one round of a waiting loop takes without a decision; the least of a few.
fn cost_of_waiting(order: &[u32]) -> f64 {
    let rounds = scaled(200_000, 100);
    let once = |_| step::<WAITING>(order, &mut 0, rounds, &mut |_| true).as_secs_f64() / rounds as f64;
    (0..9).map(once).fold(f64::INFINITY, f64::min)
}

#[inline]
fn step<const ORDER: bool>(
    order: &[u32],
    place: &mut usize,
    count: u64,
    decide: &mut impl FnMut(usize) -> bool,
) -> Duration {
    let start = Instant::now();
    let mut answered = 0;
    let mut at = *place;
    for _ in 0..count {
        // A power of two, so that this is no division.
        let answer = decide(order[at & (order.len() - 1)] as usize);
        answered += u64::from(answer);
        at += 1;
        if ORDER == WAITING {
            // Always 0, which the compiler is not told: nanoseconds of a second take 30 bits.
            at +=
                (black_box(start.elapsed().subsec_nanos()) >> 31) as usize + usize::from(!black_box(answer));
        }
    }
    *place = at;
    let taken = start.elapsed();
    assert_eq!(answered, count, "decisions that the case is not about");
    taken
}

/// Our limiter, with a line for every account.
struct Ours {
    limiter: Limiter,
    tiers: [Tier; 4],
    identities: Vec<Identity>,
    subjects: Vec<Subject>,
    cost: Cost,
}

impl Ours {
    fn with_plenty() -> &'static Ours {
        static SHARED: OnceLock<Ours> = OnceLock::new();
        SHARED.get_or_init(|| Ours::new(&TIERS))
    }

    /// Every tier's total is spent; accounts and organizations have all.
    fn spent() -> &'static Ours {
        static SHARED: OnceLock<Ours> = OnceLock::new();
        SHARED.get_or_init(|| {
            let ours = Ours::new(&SPENT);
            for (tier, number) in ours.tiers.into_iter().zip(0_u64..) {
                // Nobody's account is in two tiers.
                for other in 0..3 {
                    let who = ours.limiter.identity(tier, number * 3 + other);
                    ours.limiter.check(&who, &ours.cost).expect("the tier's three tokens");
                }
            }
            ours
        })
    }

    fn new(names: &[&str; 4]) -> Ours {
        let requests = Requests::shared();
        // Room for all: the first without a place comes at 98% of the capacity.
        let limiter = limiter(plan(1, names, accounts() * 21 / 20 + 100, organizations() * 21 / 20 + 100));
        let tiers = names.map(|name| tier(&limiter, name));
        let identity = |request: &Request| {
            let organization = limiter.organization(&requests.organizations[request.organization as usize]);
            let tier = tiers[Requests::tier_of(request.organization)];
            limiter.identity(tier, &request.account).in_organization(organization)
        };
        let identities: Vec<Identity> = requests.all.iter().map(identity).collect();
        // Gives every account its line.
        let subjects = identities.iter().map(|identity| limiter.subject(identity)).collect();
        let held = limiter.statistics();
        assert!(held.accounts * 1_000 >= accounts() * 999, "{held:?}");
        Ours { cost: cost(&limiter, 1), limiter, tiers, identities, subjects }
    }
}

/// Identities as they were built at authentication.
pub fn identity<const DRAW: bool, const ORDER: bool, const TIME: bool>() -> Run {
    walk::<ORDER>(Requests::shared().order::<DRAW>(), kept_identity::<TIME>())
}

fn kept_identity<const TIME: bool>() -> impl FnMut(usize) -> bool + Send + 'static {
    let ours = Ours::with_plenty();
    let now = ours.limiter.now();
    move |index| admits::<TIME>(&ours.limiter, &ours.identities[index], &ours.cost, now)
}

/// The same for one of several threads: each begins elsewhere in the order.
pub fn on_thread<const DRAW: bool>(thread: u64) -> impl FnMut() -> bool + Send + 'static {
    spread(Requests::shared().order::<DRAW>(), thread, kept_identity::<READ>())
}

/// The next of `order` at each call, from a place that is `thread`'s own.
fn spread(
    order: &'static [u32],
    thread: u64,
    mut decide: impl FnMut(usize) -> bool + Send + 'static,
) -> impl FnMut() -> bool + Send + 'static {
    let mut at = order.len() / 3 * thread as usize;
    move || {
        at += 1;
        decide(order[at & (order.len() - 1)] as usize)
    }
}

/// Subjects: no look-up.
pub fn subject<const DRAW: bool, const ORDER: bool, const TIME: bool>() -> Run {
    let (requests, ours) = (Requests::shared(), Ours::with_plenty());
    let now = ours.limiter.now();
    walk::<ORDER>(requests.order::<DRAW>(), move |index| {
        admits::<TIME>(&ours.limiter, &ours.subjects[index], &ours.cost, now)
    })
}

/// Identities built for each request, from the very strings that governor is given.
pub fn strings<const DRAW: bool, const ORDER: bool, const TIME: bool>() -> Run {
    let (requests, ours) = (Requests::shared(), Ours::with_plenty());
    let now = ours.limiter.now();
    walk::<ORDER>(requests.order::<DRAW>(), move |index| {
        let request = &requests.all[index];
        let organization = ours.limiter.organization(&requests.organizations[request.organization as usize]);
        let tier = ours.tiers[Requests::tier_of(request.organization)];
        let caller = ours.limiter.identity(tier, &request.account).in_organization(organization);
        admits::<TIME>(&ours.limiter, &caller, &ours.cost, now)
    })
}

/// Everyone is refused, at the tier.
pub fn denied<const DRAW: bool, const ORDER: bool>() -> Run {
    let (requests, ours) = (Requests::shared(), Ours::spent());
    let now = ours.limiter.now();
    walk::<ORDER>(requests.order::<DRAW>(), move |index| {
        !admits::<READ>(&ours.limiter, &ours.identities[index], &ours.cost, now)
    })
}

fn governors() -> &'static Levels<String> {
    static SHARED: OnceLock<&'static Levels<String>> = OnceLock::new();
    SHARED.get_or_init(|| {
        let (requests, levels) = (Requests::shared(), kept(Levels::new()));
        let asked = |request: &Request| levels.admit(keys(requests, request));
        assert!(requests.all.iter().all(asked));
        levels
    })
}

#[inline]
fn keys<'a>(requests: &'a Requests, request: &'a Request) -> [&'a String; 3] {
    let organization = &requests.organizations[request.organization as usize];
    [&request.account, organization, &requests.tiers[Requests::tier_of(request.organization)]]
}

/// governor's three keyed limiters in sequence.
pub fn governor_three<const DRAW: bool, const ORDER: bool>() -> Run {
    walk::<ORDER>(Requests::shared().order::<DRAW>(), three_keyed())
}

fn three_keyed() -> impl FnMut(usize) -> bool + Send + 'static {
    let (requests, levels) = (Requests::shared(), governors());
    move |index| levels.admit(keys(requests, &requests.all[index]))
}

/// The same for one of several threads.
pub fn governor_on_thread<const DRAW: bool>(thread: u64) -> impl FnMut() -> bool + Send + 'static {
    spread(Requests::shared().order::<DRAW>(), thread, three_keyed())
}

/// The first of them alone.
pub fn governor_one<const DRAW: bool, const ORDER: bool>() -> Run {
    let (requests, levels) = (Requests::shared(), governors());
    walk::<ORDER>(requests.order::<DRAW>(), move |index| {
        levels.0[0].check_key(&requests.all[index].account).is_ok()
    })
}
