//! The checker is checked: histories that break an invariant are flagged, and good ones are not.

#![expect(clippy::unwrap_used, reason = "a test ends where it can't go on")]
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "an edit is about one kind of entry and leaves all others"
)]

#[path = "checker/broken.rs"]
mod broken;
#[path = "support/checker/mod.rs"]
mod checker;
#[path = "checker/story.rs"]
mod story;
#[path = "checker/world.rs"]
mod world;
