//! One decision over account, organization and tier, beside governor's over one key and over three in sequence.
//!
//! `cargo bench` runs it; the numbers to quote are ratios of medians within one run. A single hot caller flatters
//! everybody alike (all in cache), so that what is compared is arithmetic and atomics.

use std::{hint::black_box, num::NonZeroU32, time::Duration};

use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main, measurement::WallTime};
use governor::{Quota, RateLimiter};
use tollgate::{Cost, Identity, Limiter, Plan};

/// As much a second as no loop spends: what is timed is admission.
const PLENTY: u32 = 4_000_000_000;

fn policy(total_burst: u64) -> Plan {
    let text = format!(
        r#"
        version = 1
        meters = ["requests", "input_tokens", "output_tokens"]
        capacity = {{ accounts = 100_000, organizations = 10_000 }}

        [tiers.hot]
        account.requests = {{ rate = "4G/s", burst = "4G" }}
        account.input_tokens = {{ rate = "4G/s", burst = "4G" }}
        account.output_tokens = {{ rate = "4G/s", burst = "4G" }}
        organization.requests = {{ rate = "5G/s", burst = "5G" }}
        organization.input_tokens = {{ rate = "5G/s", burst = "5G" }}
        organization.output_tokens = {{ rate = "5G/s", burst = "5G" }}
        total.requests = {{ rate = "6G/s", burst = "6G" }}
        total.input_tokens = {{ rate = "6G/s", burst = "6G" }}
        total.output_tokens = {{ rate = "6G/s", burst = "6G" }}

        [tiers.spent]
        account.requests = {{ rate = "1/h", burst = 1 }}
        total.requests = {{ rate = "2/h", burst = {total_burst} }}
        "#
    );
    Plan::from_toml(&text).expect("the bench's own policy")
}

struct Ours {
    limiter: Limiter,
    caller: Identity,
    one: Cost,
    three: Cost,
}

impl Ours {
    fn new() -> Ours {
        let limiter = Limiter::builder(policy(2)).secret([1; 16]).build().expect("memory");
        let meter = |name| limiter.meter(name).expect("a meter of the policy");
        let one = Cost::of(meter("requests"), 1);
        let three = one.and(meter("input_tokens"), 1).and(meter("output_tokens"), 1);
        let organization = limiter.organization("org_4c1d88f0a2");
        let caller =
            limiter.identity(tier(&limiter, "hot"), "acct_f378b692784f").in_organization(organization);
        Ours { limiter, caller, one, three }
    }
}

fn tier(limiter: &Limiter, name: &str) -> tollgate::Tier {
    limiter.tier(name).expect("a tier of the policy")
}

fn admit(group: &mut BenchmarkGroup<'_, WallTime>) {
    let Ours { limiter, caller, one, three } = Ours::new();
    let subject = limiter.subject(&caller);
    let now = limiter.now();
    group.bench_function("tollgate subject, time given", |bencher| {
        bencher.iter(|| limiter.check_at(black_box(&subject), &one, now).is_ok());
    });
    group.bench_function("tollgate subject", |bencher| {
        bencher.iter(|| limiter.check(black_box(&subject), &one).is_ok());
    });
    group.bench_function("tollgate subject, 3 meters", |bencher| {
        bencher.iter(|| limiter.check(black_box(&subject), &three).is_ok());
    });
    group.bench_function("tollgate identity kept", |bencher| {
        bencher.iter(|| limiter.check(black_box(&caller), &one).is_ok());
    });
    let organization = limiter.organization("org_4c1d88f0a2");
    let hot = tier(&limiter, "hot");
    group.bench_function("tollgate identity built from a string", |bencher| {
        bencher.iter(|| {
            let caller = limiter.identity(hot, black_box("acct_f378b692784f")).in_organization(organization);
            limiter.check(&caller, &one).is_ok()
        });
    });
    group.bench_function("tollgate reserve and settle", |bencher| {
        bencher.iter(|| limiter.reserve(black_box(&subject), &one).map(|permit| permit.settle(&one)).is_ok());
    });

    let quota = Quota::per_second(NonZeroU32::new(PLENTY).expect("not zero"));
    let direct = RateLimiter::direct(quota);
    group.bench_function("governor direct, 1 level", |bencher| {
        bencher.iter(|| direct.check_n(black_box(NonZeroU32::MIN)).is_ok());
    });
    let keyed: [_; 3] = std::array::from_fn(|_| {
        RateLimiter::<String, _, _>::dashmap_with_hasher(quota, ahash::RandomState::new())
    });
    let keys = ["acct_f378b692784f", "org_4c1d88f0a2", "business"].map(String::from);
    group.bench_function("governor keyed, 1 level", |bencher| {
        bencher.iter(|| keyed[0].check_key(black_box(&keys[0])).is_ok());
    });
    group.bench_function("governor keyed, 3 levels in sequence", |bencher| {
        bencher.iter(|| {
            let keys = black_box(&keys);
            keyed.iter().zip(keys).all(|(limiter, key)| limiter.check_key(key).is_ok())
        });
    });
}

fn deny(group: &mut BenchmarkGroup<'_, WallTime>) {
    let Ours { limiter, one, .. } = Ours::new();
    let spent = tier(&limiter, "spent");
    for account in ["first", "second"] {
        limiter.check(&limiter.identity(spent, account), &one).expect("the tier's two tokens");
    }
    let third = limiter.identity(spent, "third");
    let subject = limiter.subject(&third);
    let denial = limiter.check(&subject, &one).expect_err("the tier is spent");
    assert_eq!(denial.level(), tollgate::Level::Tier);
    let now = limiter.now();
    group.bench_function("tollgate subject, at the tier, time given", |bencher| {
        bencher.iter(|| limiter.check_at(black_box(&subject), &one, now).is_err());
    });
    group.bench_function("tollgate subject, at the tier", |bencher| {
        bencher.iter(|| limiter.check(black_box(&subject), &one).is_err());
    });
    group.bench_function("tollgate subject, at the tier, wait asked for", |bencher| {
        bencher.iter(|| limiter.check(black_box(&subject), &one).map_err(|denial| denial.retry_after()));
    });
    let direct = RateLimiter::direct(Quota::per_hour(NonZeroU32::MIN));
    direct.check().expect("the only cell");
    group.bench_function("governor direct, 1 level", |bencher| {
        bencher.iter(|| direct.check_n(black_box(NonZeroU32::MIN)).is_ok());
    });
}

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("admit");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    admit(&mut group);
    group.finish();
    let mut group = criterion.benchmark_group("deny");
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    deny(&mut group);
    group.finish();
}

criterion_group!(benches, decide);
criterion_main!(benches);
