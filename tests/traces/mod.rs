//! Recorded and made traces, for tests that use them where they are at hand.

use std::path::{Path, PathBuf};

/// The folder that `TOLLGATE_TRACES` names, or one beside the repository; `None` where there is none.
pub fn traces() -> Option<PathBuf> {
    let folder = std::env::var_os("TOLLGATE_TRACES")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/traces"), PathBuf::from);
    folder.is_dir().then_some(folder)
}
