//! Evidence of what the machine waited for: pressure stall information (PSI) of the machine, and of the
//! control group of the unit where there is one. Source: the kernel's Documentation/accounting/psi.rst.

use super::piece::Piece;
use crate::soak::sampler::unit::Groups;
use std::fmt::Write as _;

const WHAT: &str = "pressure on CPU, memory and disks (PSI)";
/// Shares of the last 10 s, in percent, from which on they stand out.
const STANDS_OUT: f64 = 5.0;

/// `pressure.txt`; `group` is the control group of the unit.
pub(super) fn take(group: Option<&str>, max_bytes: u64) -> Piece {
    let groups = Groups::default();
    let mut text = String::new();
    let mut high = Vec::new();
    for resource in ["cpu", "memory", "io"] {
        let of_machine = std::fs::read_to_string(format!("/proc/pressure/{resource}"));
        let file = format!("{resource}.pressure");
        let of_group = group
            .and_then(|group| groups.find(group, &file))
            .and_then(|folder| std::fs::read_to_string(folder.join(&file)).ok());
        for (whose, read) in [("machine", of_machine.ok()), ("unit", of_group)] {
            let Some(read) = read else {
                continue;
            };
            let _ = writeln!(text, "{resource}, {whose}:\n{read}");
            let share = last_10_s(&read);
            if let Some(share) = share.filter(|share| *share >= STANDS_OUT) {
                high.push(format!("{resource} of the {whose} {share:.0} %"));
            }
        }
    }
    if text.is_empty() {
        return Piece::missing(WHAT, "the kernel keeps none (/proc/pressure)");
    }
    let mut piece = Piece::file("pressure.txt", WHAT, text.into_bytes(), max_bytes);
    if !high.is_empty() {
        let high = high.join(", ");
        piece.say(&format!("something waited for {high} of the last 10 s"));
    }
    piece
}

/// The share of the last 10 s in which something waited, in percent.
fn last_10_s(pressure: &str) -> Option<f64> {
    let some = pressure
        .lines()
        .find_map(|line| line.strip_prefix("some "))?;
    let value = some
        .split_whitespace()
        .find_map(|word| word.strip_prefix("avg10="))?;
    value.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_the_last_seconds_is_read() {
        let text = "some avg10=12.50 avg60=3.00 avg300=1.00 total=99\nfull avg10=1.00 avg60=0 avg300=0 total=1\n";
        assert_eq!(last_10_s(text), Some(12.5));
        assert_eq!(last_10_s("none"), None);
    }
}
