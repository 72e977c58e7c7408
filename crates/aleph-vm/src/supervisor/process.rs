//! The supervisor process.

use std::path::Path;

use crate::error::VmError;

/// Becomes the supervisor of the plan in `spec` and returns when the VM has ended.
///
/// Blocking; it makes its own runtime. The caller's `main` does nothing before it but parse its
/// arguments and exits with 0 on `Ok`.
pub fn run(spec: &Path) -> Result<(), VmError> {
    let _ = spec;
    Ok(())
}
