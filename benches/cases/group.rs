//! Cases for criterion, in named groups.

use std::time::Duration;

use criterion::Criterion;

use super::Run;

/// A name, and what builds the case when it is its turn.
pub type Case = (&'static str, fn() -> Run);

/// Measures every case of every group.
pub fn measure(criterion: &mut Criterion, groups: &[(&str, &[Case])]) {
    for (name, cases) in groups {
        let mut group = criterion.benchmark_group(*name);
        group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300));
        group.sample_size(30);
        for (name, build) in *cases {
            // Criterion calls this more than once, or not at all.
            let mut run = None;
            group.bench_function(*name, |bencher| {
                bencher.iter_custom(run.get_or_insert_with(build));
            });
        }
        group.finish();
    }
}
