//! What is asked of the files under the mappings: seals, locks, room on the disk, and that it be on the disk.

#[cfg(not(miri))]
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
#[cfg(not(miri))]
use std::os::fd::FromRawFd;

/// Stands for one: see [`super::Memory::map`].
#[cfg(miri)]
pub(crate) fn sealed_file(_: &str, _: usize) -> io::Result<File> {
    File::open("/dev/null")
}

/// Makes a nameless file in memory that nobody can shrink, grow or unseal.
///
/// # Errors
/// What the kernel says: no memory, no descriptors left.
#[cfg(not(miri))]
pub(crate) fn sealed_file(name: &str, length: usize) -> io::Result<File> {
    let name = CString::new(name.replace('\0', "_")).expect("no zero is left in it");
    // SAFETY: the name is a valid C string for the whole call.
    let fd = unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us alone.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(length as u64)?;
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: a call on a descriptor we own, without pointers.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_ADD_SEALS, seals) } {
        0 => Ok(file),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether nobody can shrink this file any more.
pub(crate) fn is_sealed(file: &File) -> bool {
    if cfg!(miri) {
        return true;
    }
    // SAFETY: a call on a descriptor we own, without pointers.
    let seals = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_GET_SEALS) };
    seals >= 0 && seals & libc::F_SEAL_SHRINK != 0
}

/// Who else may have a file open while we do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Others who hold it shared.
    Shared,
    /// Nobody.
    Alone,
}

/// Takes hold of an open file, or changes how it is held, at once or not at all. The hold belongs to the open file
/// itself: it lasts until its last descriptor is closed, in whatever process, and so ends with the death of all who
/// have it.
///
/// # Errors
/// `WouldBlock` when others hold it in a way that does not go with ours.
pub(crate) fn hold(file: &File, how: Hold) -> io::Result<()> {
    lock(
        file,
        match how {
            Hold::Shared => libc::F_RDLCK,
            Hold::Alone => libc::F_WRLCK,
        },
    )
}

/// Ends the hold.
///
/// # Errors
/// Where the file system keeps no such locks.
pub(crate) fn let_go(file: &File) -> io::Result<()> {
    lock(file, libc::F_UNLCK)
}

fn lock(file: &File, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: zero is a legal value for the struct, which is ours and lives through the call.
    let answer = unsafe {
        let mut range: libc::flock = std::mem::zeroed();
        range.l_type = kind as libc::c_short;
        range.l_whence = libc::SEEK_SET as libc::c_short;
        range.l_len = 1;
        libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw mut range)
    };
    match answer {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes sure that there is room on the disk for a range of the file, which reads as zeros where it was never
/// written.
///
/// # Errors
/// Where the disk, or what the user may have of it, is full; and where the file system cannot promise room.
pub(crate) fn reserve(file: &File, offset: usize, length: usize) -> io::Result<()> {
    let (Ok(offset), Ok(length)) = (libc::off_t::try_from(offset), libc::off_t::try_from(length)) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    loop {
        // SAFETY: a call on a descriptor we own, without pointers; it changes no byte of the file.
        if unsafe { libc::fallocate(file.as_raw_fd(), libc::FALLOC_FL_KEEP_SIZE, offset, length) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// The first stretch of the file from `from` on, up to `end`, that is not a hole: where it begins and ends. None where
/// there is nothing but holes. A file system that does not tell says that all of it is data.
pub(crate) fn data(file: &File, from: usize, end: usize) -> Option<(usize, usize)> {
    let seek = |from: usize, whence| {
        let from = libc::off_t::try_from(from).ok()?;
        // SAFETY: a call on a descriptor we own, without pointers. Nobody uses the position of the file.
        usize::try_from(unsafe { libc::lseek(file.as_raw_fd(), from, whence) }).ok()
    };
    let start = seek(from, libc::SEEK_DATA)?;
    let stop = seek(start, libc::SEEK_HOLE).unwrap_or(end);
    (start < end).then_some((start, stop.min(end)))
}
