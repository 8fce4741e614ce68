//! The environment of a program, in blocks that many programs may share.

use std::ffi::{CString, c_char};
use std::ptr;
use std::sync::Arc;

/// Entries `NAME=value`, one behind the other in a single piece of memory.
///
/// ```
/// use process::Entries;
///
/// let mut entries = Entries::default();
/// assert!(entries.push("HOME", "/root"));
/// assert!(!entries.push("ODD", "a\0b"), "no environment can hold it");
/// assert_eq!(entries.iter().collect::<Vec<_>>(), [b"HOME=/root"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entries {
    /// Each entry is followed by a zero and holds none.
    bytes: Vec<u8>,
    starts: Vec<usize>,
}

impl Entries {
    /// Adds a variable; `false`: it holds a NUL byte, which no environment can, and is left out.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> bool {
        let (name, value) = (name.as_ref(), value.as_ref());
        if name.contains(&0) || value.contains(&0) {
            return false;
        }
        self.add(&[name, b"=", value]);
        true
    }

    /// Makes room for more entries of so many bytes in all, each with its `=` and a byte behind it.
    pub fn reserve(&mut self, entries: usize, bytes: usize) {
        self.bytes.reserve(bytes);
        self.starts.reserve(entries);
    }

    /// Each entry, without the zero behind it.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let end_of = |index: usize| self.starts.get(index + 1).copied().unwrap_or(self.bytes.len());
        self.starts.iter().enumerate().map(move |(index, start)| &self.bytes[*start..end_of(index) - 1])
    }

    /// Those entries for whose name `stays` holds.
    pub fn filtered(&self, stays: impl Fn(&[u8]) -> bool) -> Entries {
        let mut kept = Entries::default();
        kept.reserve(self.starts.len(), self.bytes.len());
        for entry in self.iter() {
            let name = entry.iter().position(|byte| *byte == b'=').map_or(entry, |end| &entry[..end]);
            if stays(name) {
                kept.add(&[entry]);
            }
        }
        kept
    }

    fn add(&mut self, parts: &[&[u8]]) {
        self.starts.push(self.bytes.len());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
        self.bytes.push(0);
    }
}

/// The whole environment of a program: its own variables, and blocks of such that it shares with others. What a launch
/// alone has is then all that has to be put together for it.
///
/// Whoever puts it together sees to it that no name comes twice: programs differ in which of two they find.
///
/// ```
/// use process::{Entries, Variables};
/// use std::sync::Arc;
///
/// let mut common = Entries::default();
/// common.push("HOME", "/root");
/// let mut variables = Variables::from(vec![c"NAME=one".to_owned()]);
/// variables.share(Arc::new(common));
/// assert_eq!(variables.iter().collect::<Vec<_>>(), [&b"NAME=one"[..], b"HOME=/root"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Variables {
    own: Entries,
    shared: Vec<Arc<Entries>>,
}

impl Variables {
    /// Adds a variable of the program's own; `false`: it holds a NUL byte and is left out.
    pub fn push(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> bool {
        self.own.push(name, value)
    }

    /// Adds what others have too.
    pub fn share(&mut self, entries: Arc<Entries>) {
        self.shared.push(entries);
    }

    /// Each entry: its own first, then those of each block.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.blocks().flat_map(Entries::iter)
    }

    /// Where each entry starts, behind these others, and the null pointer that ends them.
    pub(crate) fn pointers(&self, first: impl ExactSizeIterator<Item = *const c_char>) -> Vec<*const c_char> {
        let count = first.len() + self.blocks().map(|block| block.starts.len()).sum::<usize>() + 1;
        let mut pointers = Vec::with_capacity(count);
        pointers.extend(first);
        for block in self.blocks() {
            let base: *const c_char = block.bytes.as_ptr().cast();
            pointers.extend(block.starts.iter().map(|start| base.wrapping_add(*start)));
        }
        pointers.push(ptr::null());
        pointers
    }

    fn blocks(&self) -> impl Iterator<Item = &Entries> {
        [&self.own].into_iter().chain(self.shared.iter().map(|block| &**block))
    }
}

impl From<Entries> for Variables {
    fn from(own: Entries) -> Variables {
        Variables { own, shared: Vec::new() }
    }
}

impl From<Vec<CString>> for Variables {
    fn from(entries: Vec<CString>) -> Variables {
        let mut own = Entries::default();
        for entry in entries {
            own.add(&[entry.as_bytes()]);
        }
        own.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CStr;

    fn entries(variables: &[(&str, &str)]) -> Entries {
        let mut entries = Entries::default();
        for (name, value) in variables {
            assert!(entries.push(name, value));
        }
        entries
    }

    #[test]
    fn what_is_left_out_leaves_the_others_whole() {
        let all = entries(&[("A", "1"), ("AB", ""), ("B", "x=y")]);
        let kept = all.filtered(|name| name != b"A");
        assert_eq!(kept.iter().collect::<Vec<_>>(), [&b"AB="[..], b"B=x=y"]);
        assert_eq!(all.filtered(|_| false), Entries::default());
        assert_eq!(Entries::default().iter().count(), 0);
    }

    #[test]
    fn the_kernel_is_shown_every_entry_of_every_block_once() {
        let mut variables = Variables::from(entries(&[("A", "1")]));
        variables.share(Arc::new(entries(&[("B", "2"), ("C", "")])));
        variables.share(Arc::default());
        let pointers = variables.pointers([c"PID=7".as_ptr()].into_iter());
        let (last, strings) = pointers.split_last().unwrap();
        assert!(last.is_null());
        // SAFETY: each points to bytes of `variables`, or of a constant, that end with a zero.
        let shown: Vec<&CStr> = strings.iter().map(|start| unsafe { CStr::from_ptr(*start) }).collect();
        assert_eq!(shown, [c"PID=7", c"A=1", c"B=2", c"C="]);
    }
}
