//! From what was read of a stream to those who want it: files, the console, the last lines, followers and watchers.

use super::console::Console;
use super::file::Format;
use super::follow::Followers;
use super::format::Head;
use super::framing::Framer;
use super::line::{Ending, Label, Line};
use super::pump::Shared;
use super::stamp::stamp;
use super::streams::{Busy, Source};
use super::tail::Block;
use std::time::{Instant, SystemTime};

/// A block of this much is one of a flood, if the one before it was.
pub(super) const SMALL: usize = 32 * 1024;

/// Formatted records are handed to the file whenever they are more than this.
const BATCH: usize = 256 * 1024;

/// Brings what one stream has written to everybody who wants it.
pub(super) struct Delivery<'e> {
    pub shared: &'e Shared,
    pub console: Option<&'e mut Console>,
    /// Formatted records on their way to a file.
    pub records: &'e mut Vec<u8>,
}

impl Delivery<'_> {
    pub fn block(&mut self, source: &mut Source, bytes: &[u8]) {
        let label = source.label();
        let time = SystemTime::now();
        let flood = bytes.len() >= SMALL;
        let mut memory = self.shared.memory();
        memory.tail.keep(Block {
            stream: source.id.number(),
            label: &label,
            time,
            bytes,
            mid_line: source.mid_line,
            flood: flood && source.flood,
        });
        source.flood = flood;
        source.mid_line = bytes.last() != Some(&b'\n');
        let followed = memory.followers.follow(&label.worker);
        if !followed {
            drop(memory);
            self.lines(
                source,
                &label,
                time,
                None,
                |framer, line| framer.push(bytes, line),
                |framer| framer.glance(bytes),
            );
        } else {
            let followers = Some(&memory.followers);
            self.lines(source, &label, time, followers, |framer, line| framer.push(bytes, line), |_| {});
        }
        if let Some(file) = source.file.as_ref().filter(|file| file.format() == Format::Raw) {
            file.write(bytes, Instant::now(), &self.shared.troubles);
        }
        source.rest();
    }

    pub fn last_line(&mut self, source: &mut Source) {
        if !source.mid_line {
            return;
        }
        let label = source.label();
        let time = SystemTime::now();
        let mut memory = self.shared.memory();
        memory.tail.end(source.id.number(), &label, time);
        let followers = Some(&memory.followers);
        self.lines(source, &label, time, followers, |framer, line| framer.finish(line), |_| {});
    }

    /// Gives the lines that `push` finds to whoever wants lines; when nobody does, only `glance` is called.
    fn lines(
        &mut self,
        source: &mut Source,
        label: &Label,
        time: SystemTime,
        followers: Option<&Followers>,
        push: impl FnOnce(&mut Framer, &mut dyn FnMut(&[u8], Ending)),
        glance: impl FnOnce(&mut Framer),
    ) {
        let (file, mut seq) = (source.file.clone(), source.seq);
        let Busy { watch, framer, .. } = source.busy();
        let file_head = file.as_ref().and_then(|file| Head::new(file.format(), &stamp(time), label));
        if followers.is_none() && file_head.is_none() && watch.is_none() && self.console.is_none() {
            glance(framer);
            return;
        }
        let console_head = self.console.as_ref().map(|console| console.head(label));
        let now = Instant::now();
        let records = &mut *self.records;
        records.clear();
        push(framer, &mut |bytes, ending| {
            if let Some((file, head)) = file.as_ref().zip(file_head.as_ref()) {
                head.record(records, seq, bytes, ending);
                if records.len() >= BATCH {
                    file.write(records, now, &self.shared.troubles);
                    records.clear();
                }
            }
            if let Some((console, head)) = self.console.as_mut().zip(console_head.as_ref()) {
                console.put(head, bytes, ending);
            }
            if watch.as_mut().is_some_and(|watch| watch(bytes).is_break()) {
                *watch = None;
            }
            if let Some(followers) = followers {
                followers.give(label, || Line { label: label.clone(), time, bytes: bytes.to_vec(), ending });
            }
            seq += 1;
        });
        if let Some(file) = file.as_ref().filter(|_| !records.is_empty()) {
            file.write(records, now, &self.shared.troubles);
        }
        source.seq = seq;
    }
}
