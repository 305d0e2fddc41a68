//! Every case by itself, with its peers in the same run: `cargo bench --bench decide`.
//!
//! What to quote are ratios, which `ratios` prints; what each case is, `README.md` says.

mod cases;

use cases::{
    GIVEN, READ, full, governor,
    group::{Case, measure},
    hot,
    many::{self, BACK_TO_BACK, UNIFORM, WAITING, ZIPF},
    threads,
};
use criterion::{Criterion, criterion_group, criterion_main};

const ADMIT: &[Case] = &[
    ("tollgate subject, time given", hot::subject::<1, 1, GIVEN>),
    ("tollgate subject", hot::subject::<1, 1, READ>),
    ("tollgate subject, 1 of 3 meters, time given", hot::subject::<3, 1, GIVEN>),
    ("tollgate subject, 1 of 3 meters", hot::subject::<3, 1, READ>),
    ("tollgate subject, 3 meters, time given", hot::subject::<3, 3, GIVEN>),
    ("tollgate subject, 3 meters", hot::subject::<3, 3, READ>),
    ("tollgate identity kept, time given", hot::identity::<1, 1, GIVEN>),
    ("tollgate identity kept", hot::identity::<1, 1, READ>),
    ("tollgate identity kept, 3 meters", hot::identity::<3, 3, READ>),
    ("tollgate identity from strings, time given", hot::strings::<1, 1, GIVEN>),
    ("tollgate identity from strings", hot::strings::<1, 1, READ>),
    ("tollgate identity from strings, 3 meters", hot::strings::<3, 3, READ>),
    ("tollgate identity from u64, time given", hot::integers::<GIVEN>),
    ("tollgate identity from u64", hot::integers::<READ>),
    ("governor direct, 1 level", governor::direct),
    ("governor keyed, 1 level", governor::keyed),
    ("governor keyed, 3 levels", governor::three),
    ("governor keyed, 3 levels of 3 meters", governor::nine),
];

const DENY: &[Case] = &[
    ("tollgate subject, time given", hot::denied::<1, GIVEN>),
    ("tollgate subject", hot::denied::<1, READ>),
    ("tollgate subject, 1 of 3 meters", hot::denied::<3, READ>),
    ("tollgate subject, wait asked for", hot::denied_with_wait),
    ("tollgate identity kept, all of 1 M", many::denied::<UNIFORM, BACK_TO_BACK>),
    ("tollgate identity kept, all of 1 M, waiting", many::denied::<UNIFORM, WAITING>),
    ("governor direct, 1 level", governor::direct_denied),
];

const UNIFORM_MILLION: &[Case] = &[
    ("tollgate subject", many::subject::<UNIFORM, BACK_TO_BACK, READ>),
    ("tollgate subject, waiting", many::subject::<UNIFORM, WAITING, READ>),
    ("tollgate identity kept", many::identity::<UNIFORM, BACK_TO_BACK, READ>),
    ("tollgate identity kept, time given", many::identity::<UNIFORM, BACK_TO_BACK, GIVEN>),
    ("tollgate identity kept, waiting", many::identity::<UNIFORM, WAITING, READ>),
    ("tollgate identity from strings", many::strings::<UNIFORM, BACK_TO_BACK, READ>),
    ("tollgate identity from strings, time given", many::strings::<UNIFORM, BACK_TO_BACK, GIVEN>),
    ("tollgate identity from strings, waiting", many::strings::<UNIFORM, WAITING, READ>),
    ("governor keyed, 1 level", many::governor_one::<UNIFORM, BACK_TO_BACK>),
    ("governor keyed, 3 levels", many::governor_three::<UNIFORM, BACK_TO_BACK>),
    ("governor keyed, 3 levels, waiting", many::governor_three::<UNIFORM, WAITING>),
];

const ZIPF_MILLION: &[Case] = &[
    ("tollgate subject", many::subject::<ZIPF, BACK_TO_BACK, READ>),
    ("tollgate identity kept", many::identity::<ZIPF, BACK_TO_BACK, READ>),
    ("tollgate identity from strings", many::strings::<ZIPF, BACK_TO_BACK, READ>),
    ("tollgate identity from strings, waiting", many::strings::<ZIPF, WAITING, READ>),
    ("governor keyed, 3 levels", many::governor_three::<ZIPF, BACK_TO_BACK>),
    ("governor keyed, 3 levels, waiting", many::governor_three::<ZIPF, WAITING>),
];

/// The time is that of one decision on each thread.
const THREADS: &[Case] = &[
    ("tollgate distinct accounts, 1 thread", threads::distinct::<1>),
    ("tollgate distinct accounts, 2 threads", threads::distinct::<2>),
    ("tollgate one organization, 2 threads", threads::colleagues::<2>),
    ("tollgate same account, 1 thread", threads::same::<1>),
    ("tollgate same account, 2 threads", threads::same::<2>),
    ("tollgate deny at the tier, 1 thread", threads::denied::<1>),
    ("tollgate deny at the tier, 2 threads", threads::denied::<2>),
    ("tollgate 1 M uniform, 1 thread", threads::million::<UNIFORM, 1>),
    ("tollgate 1 M uniform, 2 threads", threads::million::<UNIFORM, 2>),
    ("tollgate 1 M Zipf, 1 thread", threads::million::<ZIPF, 1>),
    ("tollgate 1 M Zipf, 2 threads", threads::million::<ZIPF, 2>),
    ("governor 3 levels, 1 M uniform, 1 thread", threads::governor_million::<UNIFORM, 1>),
    ("governor 3 levels, 1 M uniform, 2 threads", threads::governor_million::<UNIFORM, 2>),
    ("governor 3 levels, 1 M Zipf, 2 threads", threads::governor_million::<ZIPF, 2>),
    ("governor 3 levels, distinct accounts, 2 threads", threads::governor_distinct::<2>),
    ("governor 3 levels, same account, 1 thread", threads::governor_same::<1>),
    ("governor 3 levels, same account, 2 threads", threads::governor_same::<2>),
    ("governor direct denied, 2 threads", threads::governor_denied::<2>),
];

const SETTLE: &[Case] = &[
    ("tollgate reserve and settle", hot::settle::<1>),
    ("tollgate reserve and settle, 3 meters", hot::settle::<3>),
    ("tollgate reserve and give all back", hot::give_back),
];

const FLOOD: &[Case] = &[
    ("tollgate new accounts, table full", full::flood),
    ("governor keyed, 3 levels, new accounts, growing", full::governor_flood),
    ("tollgate known account, alone", threads::beside_flood::<false>),
    ("tollgate known account, beside a flood", threads::beside_flood::<true>),
];

fn all(criterion: &mut Criterion) {
    let groups = [
        ("admit", ADMIT),
        ("deny", DENY),
        ("uniform", UNIFORM_MILLION),
        ("zipf", ZIPF_MILLION),
        ("threads", THREADS),
        ("settle", SETTLE),
        ("flood", FLOOD),
    ];
    measure(criterion, &groups);
}

criterion_group!(benches, all);
criterion_main!(benches);
