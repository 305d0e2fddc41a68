//! Instructions of one decision, each with a ceiling: `cargo bench --bench instructions`. Needs valgrind.
//!
//! Unlike a time, the count is the same on a busy machine, so that CI can refuse a decision that has grown. It says
//! nothing of what an instruction waits for: for that, `ratios`.
//!
//! This process runs itself under callgrind once for each case, collecting in [`counted_by_callgrind`] alone, and
//! fails where a count exceeds its ceiling, or where nothing was counted.

mod cases;

use std::{
    hint::black_box,
    process::{Command, ExitCode},
};

use cases::{GIVEN, group::Case, hot, tiny};

/// Every case with the most instructions that it may take, on x86-64 with the oldest compiler that the crate is built
/// with. To lower one: to what is printed, and a twentieth for what another compiler may add.
const CEILINGS: &[(Case, u64)] = &[
    (("admit, subject", hot::subject::<1, 1, GIVEN>), 370),
    (("admit, subject, 3 meters", hot::subject::<3, 3, GIVEN>), 603),
    (("admit, identity kept", hot::identity::<1, 1, GIVEN>), 495),
    (("admit, identity from strings", hot::strings::<1, 1, GIVEN>), 938),
    (("deny at the tier, subject", hot::denied::<1, GIVEN>), 441),
    (("reserve and settle as reserved, subject", hot::settle_given), 3_002),
    (("reserve and give back, subject", hot::give_back_given), 4_087),
];

/// Decisions of which the mean is taken: many beside what a loop's begin and end take.
const DECISIONS: u64 = 10_000;

/// Fewer instructions than any decision takes: then something else was counted, or nothing.
const FEWEST: u64 = 20;

/// Set for the process that runs under callgrind: the name of its case.
const CASE: &str = "TOLLGATE_COUNTED_CASE";

/// What callgrind collects in, by this name.
#[inline(never)]
fn counted_by_callgrind(run: &mut cases::Run) {
    black_box(run(DECISIONS));
}

/// Mean instructions of a decision of the case named `name`.
fn count(name: &str) -> Result<u64, String> {
    let this = std::env::current_exe().map_err(|error| format!("this program's path: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*counted_by_callgrind*"])
        .arg("--callgrind-out-file=/dev/null")
        .arg(this)
        .env(CASE, name)
        .output()
        .map_err(|error| format!("valgrind: {error}; it is in the package `valgrind` of most systems"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    // The line is `==1234== Collected : 5678`.
    let collected =
        said.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse::<u64>().ok());
    match collected.map(|all| (all + DECISIONS / 2) / DECISIONS) {
        Some(each) if output.status.success() && each >= FEWEST => Ok(each),
        _ => Err(format!("{name}: nothing was counted ({}):\n{said}", output.status)),
    }
}

/// One row of the table for each case; whether all are below their ceilings.
fn compare() -> Result<bool, String> {
    println!("| one decision, time given | instructions | ceiling | |\n|---|---|---|---|");
    let mut all_below = true;
    for ((name, _), ceiling) in CEILINGS {
        let counted = count(name)?;
        let below = counted <= *ceiling;
        all_below &= below;
        println!("| {name} | {counted} | {ceiling} | {} |", if below { "" } else { "exceeded" });
    }
    Ok(all_below)
}

fn main() -> ExitCode {
    if let Ok(wanted) = std::env::var(CASE) {
        let Some(((_, build), _)) = CEILINGS.iter().find(|((name, _), _)| *name == wanted) else {
            return ExitCode::FAILURE;
        };
        let mut run = build();
        // What only the first decisions do is not counted.
        run(100);
        counted_by_callgrind(&mut run);
        return ExitCode::SUCCESS;
    }
    if tiny() {
        for ((name, build), _) in CEILINGS {
            // The words are criterion's, and `.ci/bench` counts them.
            println!("Testing instructions/{name}");
            build()(1);
            println!("Success");
        }
        return ExitCode::SUCCESS;
    }
    match compare() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("a decision takes more instructions than its ceiling in benches/instructions.rs");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
