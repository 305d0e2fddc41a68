//! Accounts that were never seen before, where the table is full.

use std::time::Duration;

use tollgate::{Cost, Identity, Limiter, ManualClock, Plan, Tier};

use super::{
    READ, Random, Run, admits, cost,
    governor::Levels,
    kept, limiter,
    many::{accounts, organizations},
    plan, tier, timed,
};

/// A limiter whose table of accounts has no slot left.
pub struct Full {
    pub limiter: Limiter,
    pub cost: Cost,
    tier: Tier,
    clock: Option<ManualClock>,
}

impl Full {
    /// All are idle: at these rates an account owes for a fraction of a nanosecond. Each newcomer replaces one.
    pub fn of_idle() -> &'static Full {
        Full::of(limiter(plan(1, &["business"], accounts(), organizations())), "business", None)
    }

    /// Half owe something, until the clock is moved, and cannot be replaced; see [`Full::indebt`].
    pub fn of_debtors() -> &'static Full {
        let text = format!(
            "version = 1\nmeters = [\"requests\"]\nmemory = \"2GiB\"\n\
             capacity = {{ accounts = {}, organizations = {} }}\n\
             [tiers.business]\n\
             account.requests = {{ rate = \"1/s\", burst = 10 }}\n\
             organization.requests = {{ rate = \"1G/s\", burst = \"1G\" }}\n\
             total.requests = {{ rate = \"2G/s\", burst = \"2G\" }}\n",
            accounts(),
            organizations()
        );
        let plan = Plan::from_toml(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let clock = ManualClock::new();
        let limiter = Limiter::builder(plan).secret([1; 16]).clock(clock.clone()).build().expect("memory");
        Full::of(limiter, "business", Some(clock))
    }

    fn of(limiter: Limiter, name: &str, clock: Option<ManualClock>) -> &'static Full {
        let full = kept(Full { cost: cost(&limiter, 1), tier: tier(&limiter, name), limiter, clock });
        full.fill();
        full
    }

    /// Twice as many as there is room for: when the last come, the first are long idle.
    fn fill(&self) {
        let mut newcomers = self.newcomers(FILLING);
        for _ in 0..accounts() * 2 {
            if let Some(clock) = &self.clock {
                // In the time in which a table of them comes, a debt of a second is twice paid.
                clock.advance_nanos(2_000_000_000 / accounts());
            }
            assert!(self.admits(&newcomers.next()), "there is an idle account to replace");
        }
    }

    /// Where there is a clock to move: all become idle; then half as many as the table holds ask, and owe.
    ///
    /// Many more could not be sure of a place: newcomers to a full table take the first idle one's, whichever of their
    /// two groups has more of those, so that debtors fill the groups less evenly than where slots are free. The first
    /// of a million that found no place was the 700,000th or so.
    pub fn indebt(&self, newcomers: &mut Newcomers<'_>) {
        let Some(clock) = &self.clock else { return };
        clock.advance(Duration::from_secs(60));
        for _ in 0..accounts() / 2 {
            assert!(self.admits(&newcomers.next()), "there is an idle account to replace");
        }
    }

    pub fn newcomers(&self, lane: u64) -> Newcomers<'_> {
        Newcomers::new(&self.limiter, self.tier, lane)
    }

    #[inline]
    pub fn admits(&self, who: &Identity) -> bool {
        admits::<READ>(&self.limiter, who, &self.cost, tollgate::Nanos::MAX)
    }
}

/// The lane of those who fill the table at first.
const FILLING: u64 = 101;

/// Identities that nobody has seen, in organizations that are known.
pub struct Newcomers<'a> {
    limiter: &'a Limiter,
    tier: Tier,
    organizations: u64,
    random: Random,
}

impl<'a> Newcomers<'a> {
    fn new(limiter: &'a Limiter, tier: Tier, lane: u64) -> Newcomers<'a> {
        Newcomers { limiter, tier, organizations: organizations(), random: Random(lane << 56) }
    }

    pub fn next(&mut self) -> Identity {
        let organization = self.limiter.organization(self.random.below(self.organizations));
        self.limiter.identity(self.tier, self.random.next()).in_organization(organization)
    }
}

/// A limiter in which a million accounts have their lines, and those accounts in a random order.
pub struct Held {
    pub limiter: Limiter,
    pub cost: Cost,
    identities: Vec<Identity>,
    random: Random,
}

impl Held {
    pub fn new() -> Held {
        let limiter = limiter(plan(1, &["business"], accounts() * 21 / 20 + 100, organizations()));
        let tier = tier(&limiter, "business");
        let mut newcomers = Newcomers::new(&limiter, tier, FILLING);
        let identities: Vec<Identity> = (0..accounts()).map(|_| newcomers.next()).collect();
        for identity in &identities {
            limiter.subject(identity);
        }
        Held { cost: cost(&limiter, 1), limiter, identities, random: Random(1) }
    }

    pub fn next(&mut self) -> Identity {
        self.identities[self.random.below(self.identities.len() as u64) as usize]
    }
}

/// A flood: each decision is about a new account.
pub fn flood() -> Run {
    let full = Full::of_idle();
    let mut newcomers = full.newcomers(1);
    timed(move || full.admits(&newcomers.next()))
}

/// The same in governor's three keyed limiters, with integers for keys. They grow; they are thrown away after as many
/// as our table holds.
pub fn governor_flood() -> Run {
    let mut levels = Levels::<u64>::new();
    let mut random = Random(1 << 56);
    let mut left = 0;
    let (tier, organizations) = (1, organizations());
    Box::new(move |mut count| {
        let mut taken = Duration::ZERO;
        while count > 0 {
            if left == 0 {
                levels = Levels::new();
                left = accounts();
            }
            let part = count.min(left);
            let start = std::time::Instant::now();
            for _ in 0..part {
                let organization = random.below(organizations);
                assert!(levels.admit([&random.next(), &organization, &tier]));
            }
            taken += start.elapsed();
            (left, count) = (left - part, count - part);
        }
        taken
    })
}
