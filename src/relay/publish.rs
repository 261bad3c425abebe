//! What became of a rename whose answer is unknown, decided from what lies at B. Pure: evidence in, verdict out.
//!
//! The rule behind every line: a temporary file that was complete and verified disappears only by our own rename or by
//! somebody else's hand; so if it is gone after an attempt whose answer is unknown, the file was published.

use crate::config::IfExists;

/// What stands under the final name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Final {
    /// Nothing.
    Absent,
    /// What we sent.
    Ours,
    /// Something else.
    Other,
}

/// What is known of a server that has nothing of ours any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// What it acknowledged is there for good, or it has run ever since.
    Kept,
    /// It was away and came back, and never acknowledged a sync: it may have lost what it had.
    Doubtful,
}

/// What lies at B after an attempt whose answer is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The temporary file is there.
    pub temporary: bool,
    /// What stands under the final name.
    pub final_name: Final,
    /// What the server may have forgotten.
    pub memory: Memory,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was published.
    Published,
    /// It was published, and the temporary name is a second link that is removed.
    PublishedTwice,
    /// Nothing was renamed: try again.
    Again,
    /// The name is taken by somebody else's file: as the policy says when it is taken before an attempt.
    Taken,
    /// It can't be known.
    Unknown,
}

/// Decides.
pub fn resolve(e: Evidence, policy: IfExists) -> Verdict {
    match (e.temporary, e.final_name) {
        (true, Final::Absent) => Verdict::Again,
        // OpenSSH's plain rename is a link and an unlink; it was cut between the two.
        (true, Final::Ours) => match policy {
            IfExists::Replace => Verdict::Again,
            IfExists::Wait | IfExists::Rename | IfExists::Fail => Verdict::PublishedTwice,
        },
        (true, Final::Other) => match policy {
            IfExists::Replace => Verdict::Again,
            IfExists::Wait | IfExists::Rename | IfExists::Fail => Verdict::Taken,
        },
        // A server that lost its memory may have lost both names.
        (false, Final::Absent | Final::Other) if e.memory == Memory::Doubtful => Verdict::Unknown,
        // Gone with nothing, ours or a later file in its place: it was published, and B may have taken it already.
        (false, Final::Absent | Final::Ours | Final::Other) => Verdict::Published,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_evidence_has_its_verdict() {
        use Final::{Absent, Other, Ours};
        use IfExists::{Fail, Rename, Replace, Wait};
        let table = [
            (true, Absent, [Verdict::Again; 4]),
            (true, Ours, [Verdict::PublishedTwice, Verdict::Again, Verdict::PublishedTwice, Verdict::PublishedTwice]),
            (true, Other, [Verdict::Taken, Verdict::Again, Verdict::Taken, Verdict::Taken]),
            (false, Absent, [Verdict::Published; 4]),
            (false, Ours, [Verdict::Published; 4]),
            (false, Other, [Verdict::Published; 4]),
        ];
        for (temporary, final_name, wanted) in table {
            for (policy, verdict) in [Wait, Replace, Rename, Fail].into_iter().zip(wanted) {
                let known = resolve(Evidence { temporary, final_name, memory: Memory::Kept }, policy);
                assert_eq!(known, verdict, "{temporary} {final_name:?} {policy:?}");
                let doubtful = resolve(Evidence { temporary, final_name, memory: Memory::Doubtful }, policy);
                let undecidable = !temporary && final_name != Ours;
                assert_eq!(doubtful, if undecidable { Verdict::Unknown } else { verdict }, "{temporary} {final_name:?} {policy:?}");
            }
        }
    }
}
