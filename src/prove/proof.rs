//! What came of rule tests.

use std::fmt;
use std::time::Duration;

/// What came of the rule tests of a rulebook.
#[derive(Clone, Debug, Default)]
pub struct Proof {
    /// Each test, in order.
    pub tested: Vec<Tested>,
    /// How many routes there are.
    pub routes: usize,
    /// The names of those that no test's event came to, in order.
    pub unreached: Vec<String>,
}

/// What came of one test.
#[derive(Clone, Debug)]
pub struct Tested {
    /// What it shows.
    pub name: String,
    /// The file that it stands in.
    pub file: String,
    /// Its line, counted from 1.
    pub line: usize,
    /// How long it took.
    pub took: Duration,
    /// What came otherwise than it says. Empty: it passed.
    pub differences: Vec<Difference>,
}

/// Something that came otherwise than a test says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What it is about: a key of `expect`, or `queries`.
    pub about: &'static str,
    /// Where the test says what it expects, as `file:line:column`.
    pub place: String,
    /// What it expects.
    pub expected: String,
    /// What came.
    pub got: String,
    /// Why.
    pub notes: Vec<String>,
}

impl Proof {
    /// How many tests passed.
    pub fn passed(&self) -> usize {
        self.tested.iter().filter(|test| test.passed()).count()
    }

    /// Those that did not.
    pub fn failed(&self) -> impl Iterator<Item = &Tested> {
        self.tested.iter().filter(|test| !test.passed())
    }

    /// Whether all passed.
    pub fn holds(&self) -> bool {
        self.failed().next().is_none()
    }

    /// How long they took together.
    pub fn took(&self) -> Duration {
        self.tested.iter().map(|test| test.took).sum()
    }
}

impl Tested {
    /// Whether all came as it says.
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// The test's name and place, and below it what came otherwise: for a log, and for people.
impl fmt::Display for Tested {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}:{})", self.name, self.file, self.line)?;
        self.differences.iter().try_for_each(|difference| write!(f, "\n{difference}"))
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { about, place, expected, got, notes } = self;
        write!(f, "  {about}  ({place})\n    expected  {expected}\n    got       {got}")?;
        notes.iter().try_for_each(|note| write!(f, "\n    {note}"))
    }
}
