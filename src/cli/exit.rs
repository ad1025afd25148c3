//! How the program ends: a closed list, so that scripts and supervisors can rely on it.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the exit code is the command's answer to scripts"]
pub enum Exit {
    /// 0: all is well.
    Fine,
    /// 1: the thing examined is at fault: invalid rules, an event that was refused, a token that was denied.
    AtFault,
    /// 2: the program was called wrongly.
    Usage,
    /// 3: the environment is at fault: cannot bind, cannot reach, cannot read.
    Environment,
}

impl Exit {
    /// The number that the system gets.
    pub fn code(self) -> u8 {
        match self {
            Self::Fine => 0,
            Self::AtFault => 1,
            Self::Usage => 2,
            Self::Environment => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
