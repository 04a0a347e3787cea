//! How much of a run folder is whole, after its process was killed or the power failed.
//!
//! Histograms of a window are synced before its line in `windows.jsonl`, so only the last window can
//! be torn, in either file. A window counts when it is whole in both.

use super::latency::Series;
use super::record::WindowRecord;
use super::run_folder::{RunFolderError, bytes_if_there, decode, whole_lines};
use super::run_log::files;
use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};
use std::path::Path;

/// What may stay of each file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole {
    /// Windows that are whole in both files.
    pub windows: u64,
    /// Bytes of `windows.jsonl`.
    pub windows_bytes: u64,
    /// Bytes of `latency.hlog`; 0 when not even its heading is whole.
    pub histograms_bytes: u64,
    /// Bytes of `events.jsonl`.
    pub events_bytes: u64,
}

/// Looks at a run folder.
///
/// # Errors
/// When a file cannot be read, or is damaged elsewhere than at its end.
pub fn whole(folder: &Path) -> Result<Whole, RunFolderError> {
    let (records, window_ends) = whole_lines::<WindowRecord>(&folder.join(files::WINDOWS))?;
    let events = &folder.join(files::EVENTS);
    let (_, event_ends) = whole_lines::<serde::de::IgnoredAny>(events)?;
    let histograms = bytes_if_there(&folder.join(files::HISTOGRAMS))?.unwrap_or_default();
    let ends = group_ends(&histograms);
    let logged = ends.len() - 1;
    if records.len().abs_diff(logged) > 1 {
        return Err(RunFolderError::Damaged {
            path: folder.to_owned(),
            problem: format!(
                "{} has {} whole windows and {} {logged}; a kill or a power loss costs one at most",
                files::WINDOWS,
                records.len(),
                files::HISTOGRAMS
            ),
        });
    }
    let kept = records.len().min(logged);
    Ok(Whole {
        windows: kept as u64,
        windows_bytes: window_ends[kept],
        histograms_bytes: ends[kept] as u64,
        events_bytes: event_ends.last().copied().unwrap_or_default(),
    })
}

/// Where the heading ends (0 when it is torn), and where each window's histograms do.
fn group_ends(log: &[u8]) -> Vec<usize> {
    let (mut ends, mut place, mut in_group) = (vec![0], 0, 0);
    for line in log.split_inclusive(|byte| *byte == b'\n') {
        if line.last() != Some(&b'\n') {
            break;
        }
        place += line.len();
        match tag_of(line) {
            Tag::Heading if ends.len() == 1 && in_group == 0 => {
                // The line of column names is the last of the heading.
                if line.starts_with(b"\"StartTimestamp\"") {
                    ends[0] = place;
                }
            }
            Tag::Series(series) if series == in_group && ends[0] > 0 => {
                in_group += 1;
                if in_group == Series::ALL.len() {
                    ends.push(place);
                    in_group = 0;
                }
            }
            _ => break,
        }
    }
    ends
}

enum Tag {
    Heading,
    Series(usize),
    Broken,
}

fn tag_of(line: &[u8]) -> Tag {
    if line.starts_with(b"#") || line.starts_with(b"\"") {
        return Tag::Heading;
    }
    let Some(Ok(LogEntry::Interval(interval))) = IntervalLogIterator::new(line).next() else {
        return Tag::Broken;
    };
    if decode(interval.encoded_histogram()).is_err() {
        return Tag::Broken;
    }
    let place = interval.tag().and_then(|tag| {
        Series::ALL
            .iter()
            .position(|series| series.as_str() == tag.as_str())
    });
    place.map_or(Tag::Broken, Tag::Series)
}
