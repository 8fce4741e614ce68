//! A value of the config and the way to it.

use std::fmt;

use jsonc_parser::ast::Value;

use crate::problem::{clipped, quoted};
use crate::source::start_of;

/// The way from the root to a value.
#[derive(Clone, Copy)]
pub(crate) enum Path<'p> {
    Root,
    Key(&'p Path<'p>, &'p str),
    Index(&'p Path<'p>, usize),
}

impl<'p> Path<'p> {
    pub fn key(&'p self, key: &'p str) -> Path<'p> {
        Path::Key(self, key)
    }

    /// The keys from the root; empty for a path through a list, where no option lies.
    pub fn keys(&self) -> Vec<&'p str> {
        let mut keys = Vec::new();
        let mut path = *self;
        loop {
            match path {
                Path::Root => break,
                Path::Key(parent, key) => {
                    keys.push(key);
                    path = *parent;
                }
                Path::Index(..) => return Vec::new(),
            }
        }
        keys.reverse();
        keys
    }

    /// The keys from the root as far as the first list on the way.
    pub fn keys_to_a_list(&self) -> Vec<String> {
        match self {
            Path::Root => Vec::new(),
            Path::Index(parent, _) => parent.keys_to_a_list(),
            Path::Key(parent, key) => {
                let mut keys = parent.keys_to_a_list();
                if !parent.passes_a_list() {
                    keys.push((*key).to_owned());
                }
                keys
            }
        }
    }

    fn passes_a_list(&self) -> bool {
        match self {
            Path::Root => false,
            Path::Index(..) => true,
            Path::Key(parent, _) => parent.passes_a_list(),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
            Path::Key(parent, key) => {
                if !matches!(parent, Path::Root) {
                    write!(f, "{parent}.")?;
                }
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
                if !key.is_empty() && key.chars().all(plain) {
                    f.write_str(&clipped(key))
                } else {
                    f.write_str(&quoted(key))
                }
            }
        }
    }
}

/// A value and the way to it.
#[derive(Clone, Copy)]
pub(crate) struct Node<'n> {
    pub value: &'n Value<'n>,
    pub path: Path<'n>,
}

impl<'n> Node<'n> {
    pub fn child(&'n self, key: &'n str, value: &'n Value<'n>) -> Node<'n> {
        Node { value, path: Path::Key(&self.path, key) }
    }

    pub fn element(&'n self, index: usize, value: &'n Value<'n>) -> Node<'n> {
        Node { value, path: Path::Index(&self.path, index) }
    }

    /// The first byte of the value.
    pub fn at(&self) -> usize {
        start_of(self.value)
    }
}
