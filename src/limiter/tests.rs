//! What only the inside of the limiter can show.

/// Called between look and commit.
pub(super) fn between_look_and_commit() {}
