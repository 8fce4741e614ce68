//! Where the socket of a run is.

use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What fits into the address of a Unix socket.
const ADDRESS_BYTES: usize = 107;

/// Calls `use_it` with a path of the same file that is short enough to be the address of a socket: a longer one goes by
/// way of a descriptor of its folder.
pub(crate) fn with_short_path<T>(path: &Path, use_it: impl FnOnce(&Path) -> io::Result<T>) -> io::Result<T> {
    if path.as_os_str().len() <= ADDRESS_BYTES {
        return use_it(path);
    }
    let (Some(folder), Some(file)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let folder = std::fs::OpenOptions::new().read(true).custom_flags(nix::libc::O_PATH).open(folder)?;
    let short = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(file);
    use_it(&short)
}
