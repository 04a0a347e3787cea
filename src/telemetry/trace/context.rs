//! `traceparent` and `tracestate` as they come.

use http::HeaderMap;
use std::fmt;

/// Longest `tracestate` that is passed on, in bytes: as much as the specification asks for.
const MAX_STATE_BYTES: usize = 512;
/// Most members of a `tracestate`.
const MAX_STATE_MEMBERS: usize = 32;
/// Longest key and longest value of a member, in bytes.
const MAX_MEMBER_BYTES: usize = 256;
/// Length of a `traceparent` of version 00, in bytes.
const PARENT_BYTES: usize = 55;

/// A trace; never all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceId([u8; 16]);

/// A span of a trace; never all zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpanId([u8; 8]);

impl TraceId {
    pub(super) fn random() -> Self {
        Self(rand::random::<u128>().max(1).to_be_bytes())
    }

    /// In network order.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The part that is random in every generation of trace ids, by which samples are taken.
    pub(super) fn random_part(self) -> u64 {
        let last = self.0.last_chunk();
        last.map_or(0, |last| u64::from_be_bytes(*last))
    }
}

impl SpanId {
    pub(super) fn of(number: u64) -> Self {
        Self(number.max(1).to_be_bytes())
    }

    /// In network order.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TraceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:032x}", u128::from_be_bytes(self.0))
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", u64::from_be_bytes(self.0))
    }
}

/// A `traceparent` of version 00.
pub(super) fn parent(trace: TraceId, span: SpanId, is_sampled: bool) -> String {
    format!("00-{trace}-{span}-{:02x}", u8::from(is_sampled))
}

/// The trace that a request says it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    pub(super) trace: TraceId,
    /// The caller's span.
    pub(super) span: SpanId,
    pub(super) is_sampled: bool,
    /// What others have written into `tracestate`; passed on as it came.
    pub(super) state: Option<Box<str>>,
}

impl Incoming {
    /// What the headers say; `None` where there is no sound `traceparent`, or more than one. A
    /// `tracestate` that is unsound, or longer than 512 bytes, is left out.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut said = headers.get_all("traceparent").iter();
        let (Some(parent), None) = (said.next(), said.next()) else {
            return None;
        };
        let (trace, span, is_sampled) = read(parent.as_bytes())?;
        Some(Self {
            trace,
            span,
            is_sampled,
            state: state(headers),
        })
    }
}

/// Version 00 to the letter; of later versions the part that they have in common with it, as the
/// specification wants it.
fn read(value: &[u8]) -> Option<(TraceId, SpanId, bool)> {
    let [version] = hex(value.get(..2)?)?;
    let is_whole = match version {
        0 => value.len() == PARENT_BYTES,
        0xff => false,
        _ => value.get(PARENT_BYTES).is_none_or(|next| *next == b'-'),
    };
    let is_parted = [2, 35, 52].iter().all(|at| value.get(*at) == Some(&b'-'));
    if !is_whole || !is_parted {
        return None;
    }
    let trace: [u8; 16] = hex(value.get(3..35)?)?;
    let span: [u8; 8] = hex(value.get(36..52)?)?;
    let [flags] = hex(value.get(53..PARENT_BYTES)?)?;
    if trace == [0; 16] || span == [0; 8] {
        return None;
    }
    Some((TraceId(trace), SpanId(span), flags & 1 == 1))
}

/// Lower-case hexadecimal of exactly `N` bytes.
fn hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = (digit(pair[0])? << 4) | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

fn state(headers: &HeaderMap) -> Option<Box<str>> {
    let mut whole = String::new();
    for value in headers.get_all("tracestate") {
        if !whole.is_empty() {
            whole.push(',');
        }
        whole.push_str(value.to_str().ok()?);
        if whole.len() > MAX_STATE_BYTES {
            return None;
        }
    }
    let members = whole.split(',').map(|member| member.trim_matches(is_space));
    let mut count = 0;
    for member in members.filter(|member| !member.is_empty()) {
        let (key, value) = member.split_once('=')?;
        count += 1;
        if !is_key(key) || !is_value(value) {
            return None;
        }
    }
    (1..=MAX_STATE_MEMBERS)
        .contains(&count)
        .then(|| whole.into())
}

fn is_space(character: char) -> bool {
    matches!(character, ' ' | '\t')
}

fn is_key(key: &str) -> bool {
    let begins_well = key.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let is_good = |c: char| {
        c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-' | '*' | '/' | '@')
    };
    begins_well && key.len() <= MAX_MEMBER_BYTES && key.chars().all(is_good)
}

fn is_value(value: &str) -> bool {
    let is_good = |c: char| matches!(c, ' '..='~') && c != '=';
    !value.is_empty() && value.len() <= MAX_MEMBER_BYTES && value.chars().all(is_good)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN: &str = "00f067aa0ba902b7";

    fn of(lines: &[(&'static str, &str)]) -> Option<Incoming> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        Incoming::of(&headers)
    }

    #[test]
    fn a_sound_traceparent_is_taken_apart() {
        for (flags, is_sampled) in [("00", false), ("01", true), ("03", true), ("fe", false)] {
            let text = format!("00-{TRACE}-{SPAN}-{flags}");
            let incoming = of(&[("traceparent", &text)]).unwrap();
            assert_eq!(incoming.trace.to_string(), TRACE);
            assert_eq!(incoming.span.to_string(), SPAN);
            assert_eq!(incoming.is_sampled, is_sampled, "{flags}");
            assert_eq!(incoming.state, None);
        }
        let later = format!("cc-{TRACE}-{SPAN}-01-what-comes-later");
        assert!(of(&[("traceparent", &later)]).unwrap().is_sampled);
    }

    #[test]
    fn what_is_no_traceparent_is_none() {
        let sound = format!("00-{TRACE}-{SPAN}-01");
        for bad in [
            "",
            "00-x-y-01",
            &sound.to_uppercase(),
            &sound.replace(TRACE, &"0".repeat(32)),
            &sound.replace(SPAN, &"0".repeat(16)),
            &sound.replacen("00", "ff", 1),
            &sound.replacen("00-", "00_", 1),
            &format!("{sound}-more"),
            &format!("{sound}0"),
            &format!("cc-{TRACE}-{SPAN}-01.more"),
            &sound[..54],
            &sound.replace("-01", "-0g"),
        ] {
            assert_eq!(of(&[("traceparent", bad)]), None, "{bad}");
        }
        let twice = [("traceparent", sound.as_str()); 2];
        assert_eq!(of(&twice), None, "whose is it?");
        assert_eq!(of(&[("tracestate", "a=1")]), None);
    }

    #[test]
    fn tracestate_is_kept_where_it_is_sound() {
        let sound = format!("00-{TRACE}-{SPAN}-01");
        let state = |states: &[&str]| {
            let states = states.iter().map(|state| ("tracestate", *state));
            let lines = [("traceparent", sound.as_str())].into_iter().chain(states);
            of(&lines.collect::<Vec<_>>()).unwrap().state
        };
        let kept = "rojo=00f067aa0ba902b7,congo@x=t61rcWkgMzE";
        assert_eq!(state(&[kept]).as_deref(), Some(kept));
        assert_eq!(state(&["a=1", "b=2"]).as_deref(), Some("a=1,b=2"));
        let many = |count: usize| vec!["a=1"; count].join(",");
        assert!(state(&[&many(32)]).is_some());
        let long = format!("a={}", "x".repeat(600));
        for bad in ["", "a", "A=1", "a=", "a=b=c", &many(33), &long] {
            assert_eq!(state(&[bad]), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            trace in 1_u128..,
            span in 1_u64..,
            is_sampled in any::<bool>(),
        ) {
            let (trace, span) = (TraceId(trace.to_be_bytes()), SpanId::of(span));
            let text = parent(trace, span, is_sampled);
            prop_assert_eq!(read(text.as_bytes()), Some((trace, span, is_sampled)));
        }

        #[test]
        fn anything_is_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..70)) {
            let _ = read(&bytes);
        }
    }
}
