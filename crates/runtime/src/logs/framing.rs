//! Bytes to lines, the same lines however the bytes were cut on their way.

use super::line::Ending;
use memchr::{memchr, memrchr};

/// The longest line in one piece, in bytes without the newline; a longer one is [split](Ending::Split).
pub const MAX_LINE: usize = 64 * 1024;

/// How much of an unfinished line is remembered while nobody asks for lines.
const GLANCE: usize = 4 * 1024;

/// Finds lines in what is pushed. Holds an unfinished line and nothing else.
#[derive(Debug)]
pub struct Framer {
    unfinished: Vec<u8>,
    longest: usize,
}

impl Default for Framer {
    fn default() -> Self {
        Framer { unfinished: Vec::new(), longest: MAX_LINE }
    }
}

impl Framer {
    /// Whether it remembers nothing.
    pub fn is_between_lines(&self) -> bool {
        self.unfinished.is_empty()
    }

    /// Calls `line` for every line, or piece of `longest` bytes, that `block` completes.
    pub fn push(&mut self, mut block: &[u8], mut line: impl FnMut(&[u8], Ending)) {
        if !self.unfinished.is_empty() {
            block = self.complete(block, &mut line);
        }
        while let Some(length) = memchr(b'\n', block) {
            let rest = split(&block[..length], self.longest, &mut line);
            line(rest, Ending::Newline);
            block = &block[length + 1..];
        }
        if !block.is_empty() {
            let rest = split(block, self.longest, &mut line);
            self.unfinished.extend_from_slice(rest);
        }
    }

    /// Goes on with the unfinished line; gives back what of `block` comes after it.
    fn complete<'b>(&mut self, mut block: &'b [u8], line: &mut impl FnMut(&[u8], Ending)) -> &'b [u8] {
        loop {
            let room = self.longest - self.unfinished.len();
            // One byte beyond the room is looked at: a newline there still ends a line of full length.
            let reach = block.len().min(room + 1);
            if let Some(length) = memchr(b'\n', &block[..reach]) {
                self.unfinished.extend_from_slice(&block[..length]);
                line(&self.unfinished, Ending::Newline);
                // Not kept for the next one: a quiet stream holds no buffer.
                self.unfinished = Vec::new();
                return &block[length + 1..];
            }
            if block.len() <= room {
                self.unfinished.extend_from_slice(block);
                return &[];
            }
            self.unfinished.extend_from_slice(&block[..room]);
            line(&self.unfinished, Ending::Split);
            self.unfinished.clear();
            block = &block[room..];
        }
    }

    /// The writer has ended: what is unfinished is a line of its own.
    pub fn finish(&mut self, mut line: impl FnMut(&[u8], Ending)) {
        if !self.unfinished.is_empty() {
            line(&self.unfinished, Ending::Open);
            self.unfinished = Vec::new();
        }
    }

    /// Takes note of bytes whose lines nobody asks for, so that a line which somebody will ask for is whole. Cheap: of a
    /// long unfinished line the beginning is forgotten.
    pub fn glance(&mut self, block: &[u8]) {
        let end = &block[block.len().saturating_sub(GLANCE)..];
        match memrchr(b'\n', end) {
            Some(newline) => self.unfinished = end[newline + 1..].to_vec(),
            None if self.unfinished.len() + block.len() <= GLANCE => self.unfinished.extend_from_slice(block),
            None => self.unfinished = Vec::new(),
        }
    }
}

/// Gives all of `long` but its last `longest` bytes or fewer to `line`, in full pieces; returns the rest.
fn split<'b>(mut long: &'b [u8], longest: usize, line: &mut impl FnMut(&[u8], Ending)) -> &'b [u8] {
    while long.len() > longest {
        line(&long[..longest], Ending::Split);
        long = &long[longest..];
    }
    long
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition: cut at newlines, then into full pieces.
    fn lines_of(bytes: &[u8], longest: usize) -> Vec<(Vec<u8>, Ending)> {
        let mut lines = Vec::new();
        let mut parts = bytes.split(|&byte| byte == b'\n').peekable();
        while let Some(part) = parts.next() {
            let last = parts.peek().is_none();
            let mut part = part.to_vec();
            while part.len() > longest {
                let rest = part.split_off(longest);
                lines.push((part, Ending::Split));
                part = rest;
            }
            match last {
                false => lines.push((part, Ending::Newline)),
                true if part.is_empty() => {}
                true => lines.push((part, Ending::Open)),
            }
        }
        lines
    }

    fn framed(blocks: &[Vec<u8>], longest: usize) -> Vec<(Vec<u8>, Ending)> {
        let mut framer = Framer { unfinished: Vec::new(), longest };
        let mut lines = Vec::new();
        for block in blocks {
            framer.push(block, |bytes, ending| lines.push((bytes.to_vec(), ending)));
        }
        framer.finish(|bytes, ending| lines.push((bytes.to_vec(), ending)));
        lines
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_where_reads_cut_them(
            blocks in prop::collection::vec(prop::collection::vec(prop_oneof![2 => Just(b'\n'), 5 => any::<u8>()], 0..40), 0..12),
            longest in 1usize..12,
        ) {
            prop_assert_eq!(framed(&blocks, longest), lines_of(&blocks.concat(), longest));
        }

        #[test]
        fn a_line_asked_for_after_glances_is_whole_when_it_is_short(
            before in prop::collection::vec(prop_oneof![1 => Just(b'\n'), 9 => any::<u8>()], 0..300),
            cut in 0usize..300,
        ) {
            let cut = cut.min(before.len());
            let mut framer = Framer::default();
            framer.glance(&before[..cut]);
            framer.glance(&before[cut..]);
            let mut lines = Vec::new();
            framer.push(b"end\n", |bytes, _| lines.push(bytes.to_vec()));
            let all = [&before[..], b"end"].concat();
            let expected = all.split(|&byte| byte == b'\n').next_back().expect("split gives at least one part").to_vec();
            prop_assert_eq!(lines, vec![expected]);
        }
    }

    #[test]
    fn a_line_of_the_greatest_length_is_one_piece_and_one_byte_more_makes_two() {
        let full = vec![b'x'; MAX_LINE];
        let mut line = full.clone();
        line.push(b'\n');
        assert_eq!(framed(&[line.clone()], MAX_LINE), [(full.clone(), Ending::Newline)]);
        line.insert(0, b'x');
        let two = [(full, Ending::Split), (b"x".to_vec(), Ending::Newline)];
        assert_eq!(framed(&[line.clone()], MAX_LINE), two);
        assert_eq!(framed(&line.chunks(1000).map(<[u8]>::to_vec).collect::<Vec<_>>(), MAX_LINE), two);
    }

    #[test]
    fn a_stream_between_two_lines_holds_no_memory() {
        let mut framer = Framer::default();
        framer.push(b"half of", |_, _| {});
        framer.push(b" a line\n", |_, _| {});
        assert_eq!(framer.unfinished.capacity(), 0);
    }
}
