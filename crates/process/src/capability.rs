//! What this process is permitted to do.

use std::fs;

/// A right of root's that Linux can give alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Capability {
    /// Giving files away.
    Chown = 0,
    /// Taking on any group.
    SetGid = 6,
    /// Becoming any user.
    SetUid = 7,
    /// Listening on ports below 1024.
    NetBindService = 10,
    /// Mounting.
    SysAdmin = 21,
    /// A higher priority, and the processors that others may use.
    SysNice = 23,
    /// Raising what root has limited.
    SysResource = 24,
}

/// Whether this process has a right, in effect now.
pub fn is_capable(capability: Capability) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    let bits = effective.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok()).unwrap_or(0);
    bits & (1 << capability as u8) != 0
}
