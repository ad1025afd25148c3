//! The outcome of rule tests in the XML that CI systems read.

use std::fmt::Write;
use std::time::Duration;

use crate::prove::Proof;

/// One suite for each file.
pub(super) fn junit(proof: &Proof) -> String {
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let (all, failed) = (proof.tested.len(), proof.failed().count());
    let mut line = |one: std::fmt::Arguments<'_>| {
        text.write_fmt(one).ok();
        text.push('\n');
    };
    line(format_args!(
        "<testsuites name=\"pointsman\" tests=\"{all}\" failures=\"{failed}\" time=\"{}\">",
        seconds(proof.took())
    ));
    for suite in proof.tested.chunk_by(|one, other| one.file == other.file) {
        let name = escaped(suite.first().map_or("", |test| &test.file));
        let failed = suite.iter().filter(|test| !test.passed()).count();
        let took = seconds(suite.iter().map(|test| test.took).sum());
        let tests = suite.len();
        line(format_args!("  <testsuite name=\"{name}\" tests=\"{tests}\" failures=\"{failed}\" time=\"{took}\">"));
        for test in suite {
            let (case, took, at) = (escaped(&test.name), seconds(test.took), test.line);
            let head = format!("name=\"{case}\" classname=\"{name}\" file=\"{name}\" line=\"{at}\" time=\"{took}\"");
            if test.passed() {
                line(format_args!("    <testcase {head}/>"));
                continue;
            }
            let about: Vec<&str> = test.differences.iter().map(|difference| difference.about).collect();
            let differences: Vec<String> = test.differences.iter().map(ToString::to_string).collect();
            line(format_args!("    <testcase {head}>"));
            line(format_args!("      <failure message=\"{}\">", escaped(&about.join(", "))));
            line(format_args!("{}", escaped(&differences.join("\n"))));
            line(format_args!("      </failure>"));
            line(format_args!("    </testcase>"));
        }
        line(format_args!("  </testsuite>"));
    }
    line(format_args!("</testsuites>"));
    text
}

fn seconds(took: Duration) -> String {
    format!("{:.6}", took.as_secs_f64())
}

/// Text for an element or an attribute. What XML cannot hold is left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::{Difference, Tested};

    #[test]
    fn a_file_is_a_suite_and_text_stays_text() {
        let test = |file: &str, name: &str, differences| Tested {
            name: name.to_owned(),
            file: file.to_owned(),
            line: 3,
            took: Duration::from_micros(1_500),
            differences,
        };
        let difference = Difference {
            about: "reaches",
            place: "a.yaml:9:5".to_owned(),
            expected: "ann & bob".to_owned(),
            got: "<nobody>".to_owned(),
            notes: vec!["\"why\"".to_owned()],
        };
        let proof = Proof {
            tested: vec![
                test("a.yaml", "fine", Vec::new()),
                test("a.yaml", "not \u{1} \"fine\"", vec![difference]),
                test("b.yaml", "fine", Vec::new()),
            ],
            routes: 1,
            unreached: Vec::new(),
        };
        insta::assert_snapshot!(junit(&proof));
    }
}
