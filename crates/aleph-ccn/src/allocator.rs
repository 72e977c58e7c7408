//! How much memory the system's allocator keeps for itself.

/// Arenas: two for each of the two cores that the budgets are made for. With fewer, threads wait for each other.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: i32 = 4;

/// Has the allocator of glibc keep four arenas instead of eight for each core. Messages are allocated by one
/// thread and freed by another, so every arena keeps what its largest moment took: a node that catches up
/// was 57 MiB larger with sixteen, and no faster (`docs/adr/0014-speed-of-the-writer.md`).
///
/// To be called by a program before it starts threads. An operator's `MALLOC_ARENA_MAX` wins; elsewhere
/// than on glibc nothing happens.
pub fn few_arenas() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    if std::env::var_os("MALLOC_ARENA_MAX").is_none() {
        set_arenas();
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "a setting of the C library that no crate wraps")]
fn set_arenas() {
    // SAFETY: takes two numbers and changes a setting of the allocator under its own lock; it is documented
    // to be callable at any time.
    let _changed = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
}
