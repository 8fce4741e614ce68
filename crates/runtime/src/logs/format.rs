//! Lines to the bytes of a log file. The formats are described in the [module above](super).

use super::file::Format;
use super::line::{Ending, Label};
use super::stamp::Stamp;
use std::io::Write;

/// The beginning that all records of one turn share, written once.
pub(super) struct Head {
    bytes: Vec<u8>,
    json: bool,
}

impl Head {
    /// `None` for a format without framing.
    pub fn new(format: Format, stamp: &Stamp, label: &Label) -> Option<Head> {
        let mut bytes = Vec::with_capacity(128);
        match format {
            Format::Raw => return None,
            Format::Text => {
                bytes.extend_from_slice(stamp);
                put(
                    &mut bytes,
                    format_args!(" {}:{} {} ", label.worker, label.instance, label.stream.short()),
                );
            }
            Format::Json => {
                bytes.extend_from_slice(b"{\"time\":\"");
                bytes.extend_from_slice(stamp);
                bytes.extend_from_slice(b"\",\"worker\":");
                put_json(&mut bytes, &label.worker);
                put(
                    &mut bytes,
                    format_args!(
                        ",\"instance\":{},\"launch\":{},\"stream\":\"{}\",\"seq\":",
                        label.instance,
                        label.launch,
                        label.stream.name()
                    ),
                );
            }
        }
        Some(Head { bytes, json: format == Format::Json })
    }

    /// Appends one record, its newline included.
    pub fn record(&self, out: &mut Vec<u8>, seq: u64, line: &[u8], ending: Ending) {
        out.extend_from_slice(&self.bytes);
        if self.json {
            put(out, format_args!("{seq},\"line\":"));
            let text = String::from_utf8_lossy(line);
            match plain(line) {
                true => {
                    out.push(b'"');
                    out.extend_from_slice(text.as_bytes());
                    out.push(b'"');
                }
                false => put_json(out, &text),
            }
            out.extend_from_slice(match ending {
                Ending::Newline => b"",
                Ending::Split => b",\"partial\":\"split\"",
                Ending::Open => b",\"partial\":\"end\"",
            });
            // The conversion owns its text only when it had to put something in.
            if matches!(text, std::borrow::Cow::Owned(_)) {
                out.extend_from_slice(b",\"lossy\":true");
            }
            out.extend_from_slice(b"}\n");
        } else {
            out.extend_from_slice(match ending {
                Ending::Newline => b"| ",
                Ending::Split => b"+ ",
                Ending::Open => b"! ",
            });
            out.extend_from_slice(line);
            out.push(b'\n');
        }
    }
}

/// The record that says how many bytes are missing before it.
pub(super) fn lost(format: Format, stamp: &Stamp, bytes: u64, reason: &str) -> Vec<u8> {
    let mut out = Vec::new();
    match format {
        Format::Raw => put(&mut out, format_args!("supervisor: {bytes} bytes of log lost: {reason}\n")),
        Format::Text => {
            out.extend_from_slice(stamp);
            put(&mut out, format_args!(" supervisor log | {bytes} bytes of log lost: {reason}\n"));
        }
        Format::Json => {
            out.extend_from_slice(b"{\"time\":\"");
            out.extend_from_slice(stamp);
            put(
                &mut out,
                format_args!("\",\"worker\":null,\"stream\":\"supervisor\",\"lost_bytes\":{bytes},\"line\":"),
            );
            put_json(&mut out, &format!("{bytes} bytes of log lost: {reason}"));
            out.extend_from_slice(b"}\n");
        }
    }
    out
}

/// Whether a JSON string may hold these bytes as they are: most lines, and three times as fast.
fn plain(line: &[u8]) -> bool {
    // Without an early end: the compiler makes it look at many bytes at once.
    !line.iter().fold(false, |found, &byte| found | (byte < 0x20) | (byte == b'"') | (byte == b'\\'))
}

fn put(out: &mut Vec<u8>, words: std::fmt::Arguments<'_>) {
    out.write_fmt(words).expect("a Vec takes everything");
}

fn put_json(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a str is JSON and a Vec takes everything");
}

#[cfg(test)]
mod tests {
    use super::super::line::{Stream, Writer};
    use super::super::stamp::stamp;
    use super::*;
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    fn label() -> Label {
        let writer = Writer { worker: "reader".into(), instance: 2, launch: 3, show: "reader:2".into() };
        Arc::new(writer).label(Stream::Stderr)
    }

    fn record(format: Format, line: &[u8], ending: Ending) -> Vec<u8> {
        let at = stamp(SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_459_500_123_456));
        let mut out = Vec::new();
        Head::new(format, &at, &label()).expect("a framed format").record(&mut out, 17, line, ending);
        out
    }

    #[test]
    fn a_text_record_keeps_every_byte_and_says_how_the_line_ended() {
        assert_eq!(
            record(Format::Text, b"a\0\xff\r", Ending::Newline),
            b"2026-11-23T18:45:00.123456Z reader:2 err | a\0\xff\r\n"
        );
        assert_eq!(
            record(Format::Text, b"a", Ending::Split),
            b"2026-11-23T18:45:00.123456Z reader:2 err + a\n"
        );
        assert_eq!(record(Format::Text, b"", Ending::Open), b"2026-11-23T18:45:00.123456Z reader:2 err ! \n");
    }

    #[test]
    fn a_json_record_is_one_object_on_one_line_whatever_the_worker_wrote() {
        let written = record(Format::Json, b"\"q\"\n\0\x1b\\\xff", Ending::Open);
        assert_eq!(written.iter().filter(|&&byte| byte == b'\n').count(), 1);
        let value: serde_json::Value = serde_json::from_slice(&written).expect("JSON");
        assert_eq!(
            value,
            serde_json::json!({
                "time": "2026-11-23T18:45:00.123456Z", "worker": "reader", "instance": 2, "launch": 3, "stream": "stderr",
                "seq": 17, "line": "\"q\"\n\0\u{1b}\\\u{fffd}", "partial": "end", "lossy": true,
            })
        );
    }

    #[test]
    fn a_line_that_really_holds_the_replacement_character_is_not_called_lossy() {
        let value: serde_json::Value =
            serde_json::from_slice(&record(Format::Json, "\u{fffd}".as_bytes(), Ending::Newline))
                .expect("JSON");
        assert_eq!((value.get("lossy"), value.get("partial")), (None, None));
    }

    #[test]
    fn the_record_of_a_loss_is_of_the_files_own_format() {
        let at = stamp(SystemTime::UNIX_EPOCH);
        assert_eq!(
            lost(Format::Text, &at, 5, "disk full"),
            b"1970-01-01T00:00:00.000000Z supervisor log | 5 bytes of log lost: disk full\n"
        );
        assert_eq!(lost(Format::Raw, &at, 5, "disk full"), b"supervisor: 5 bytes of log lost: disk full\n");
        let value: serde_json::Value =
            serde_json::from_slice(&lost(Format::Json, &at, 5, "disk full")).expect("JSON");
        assert_eq!(value["lost_bytes"], 5);
    }
}
