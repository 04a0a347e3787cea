//! PURE: what somebody who starts a soak should know of the scenario: it can be run, and does something
//! else than was probably meant.

use super::queries::Template;
use super::scenario::Scenario;
use super::units::{show_count, show_duration};
use std::path::Path;

impl Scenario {
    /// The file of queries, when a template has a place for one.
    pub(super) fn used_queries(&self) -> Option<&Path> {
        self.queries.as_deref().filter(|_| self.has_places())
    }

    fn has_places(&self) -> bool {
        !Template::columns([&self.path, &self.body]).is_empty()
    }

    /// What is said and has no effect: a query set that nothing asks for.
    #[must_use]
    pub fn unused(&self) -> Option<String> {
        let file = self.queries.as_ref().filter(|_| !self.has_places())?;
        Some(format!(
            "the query set {} is not used: neither the body nor the target has a place for a query; write \
             {{{{query}}}} where it belongs, as --body '{{\"query\": \"{{{{query}}}}\"}}', or leave out --queries",
            file.display()
        ))
    }

    /// Queries that are judged and never asked; of files that cannot be read, nothing.
    #[must_use]
    pub fn unasked(&self) -> Option<String> {
        let file = &self.relevance.as_ref()?.file;
        let set = self.query_set().ok()?;
        let (count, first) = set.relevant()?.unasked();
        let (line, query) = first?;
        let more = match count {
            1 => String::new(),
            _ => format!(", and {} more", show_count(count - 1)),
        };
        Some(format!(
            "the relevance file {} has what is not in the query set: {query:?} in line {line}{more}",
            file.display()
        ))
    }

    /// A number of requests that the time is too short for.
    #[must_use]
    pub fn unreached(&self) -> Option<String> {
        let wanted = self.load.count?;
        let due = self.load.schedule().count();
        (due < wanted).then(|| {
            format!(
                "{} requests were asked for, and {} fall due in {}: the duration ends the run",
                show_count(wanted),
                show_count(due),
                show_duration(self.load.duration)
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::settings::Settings;

    fn scenario(more: &str) -> Scenario {
        let toml = format!("target = \"http://127.0.0.1:1/\"\nqps = 5\nduration = \"2s\"\n{more}");
        let settings: Settings = toml::from_str(&toml).unwrap();
        Scenario::resolve(settings).unwrap()
    }

    #[test]
    fn a_query_set_that_nothing_asks_for_is_told_and_not_read() {
        let unused = scenario("queries = \"/nonexistent\"\nbody = \"x\"");
        let told = unused.unused().unwrap();
        assert!(
            told.contains("/nonexistent") && told.contains("{{query}}"),
            "{told}"
        );
        let set = unused.query_set().unwrap();
        let record = unused.record(&set);
        assert_eq!((record.queries, record.query_count), (None, 0));
        let used = scenario("queries = \"/nonexistent\"");
        assert_eq!(used.unused(), None);
        assert!(used.query_set().is_err());
    }

    #[test]
    fn a_count_that_the_duration_does_not_reach_is_told() {
        let told = scenario("body = \"x\"\ncount = 1000").unreached().unwrap();
        let expected =
            "1,000 requests were asked for, and 10 fall due in 2s: the duration ends the run";
        assert_eq!(told, expected);
        assert_eq!(scenario("body = \"x\"\ncount = 10").unreached(), None);
        assert_eq!(scenario("body = \"x\"").unreached(), None);
    }
}
