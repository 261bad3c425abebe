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

/// What lies at B after an attempt whose answer is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// The temporary file is there.
    pub temporary: bool,
    /// What stands under the final name.
    pub final_name: Final,
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
                assert_eq!(resolve(Evidence { temporary, final_name }, policy), verdict, "{temporary} {final_name:?} {policy:?}");
            }
        }
    }
}
