//! Stop, fail, or lose the answer of the n-th point, for n = 1, 2, … until a run passes fewer; then start again.

use super::{Bases, Scene, Server, Tally, Until, again, left_out_of};
use crate::servers::{Nginx, Sshd, Vsftpd};
use crate::world::Output;

/// No run has more points.
const POINTS_MAX: u64 = 2000;

/// Whether the program did not reach the point that it was to stop at.
fn finished(out: &Output) -> bool {
    out.code >= 0
}

fn kill_everywhere(scene: &Scene) {
    kill_each(scene, Until::End).end(&format!("{}: kill -9 before and after every point", scene.name));
}

/// Kills before and after each point; B imports at once what it sees every second time.
pub fn kill_each(scene: &Scene, until: Until) -> Tally {
    let mut tally = Tally::default();
    // Little lies between a point's end and the beginning of the next one.
    for (when, passes) in [("before", 1), ("after", 6)] {
        for n in 1.. {
            assert!(n < POINTS_MAX, "{}: no end of points", scene.name);
            if left_out_of(1, passes, n, until) {
                continue;
            }
            let mut round = scene.round(&Bases::one(&std::env::temp_dir()));
            let killed = round.run(&format!("kill={when}:{n}"));
            if finished(&killed) {
                break;
            }
            if n % 2 == 0 {
                round.consume();
            }
            // A second crash, in the midst of recovery, changes nothing.
            if n % 3 == 0 {
                round.run(&format!("kill={when}:{}", n / 3 + 1));
                if n % 2 == 0 {
                    round.consume();
                }
            }
            again(&mut round, &mut tally, &format!("{} kill {when} {n}", scene.name));
            if until == Until::FirstFault && !tally.clean() {
                return tally;
            }
        }
    }
    tally
}

fn fail_everywhere(scene: &Scene, failures: &[&str]) {
    fail_each(scene, failures, Until::End).end(&format!("{}: {} at every point", scene.name, failures.join(", ")));
}

/// Fails each point with each of these, once and (a full disk) for good, then without.
pub fn fail_each(scene: &Scene, failures: &[&str], until: Until) -> Tally {
    let mut tally = Tally::default();
    // Of six failures of a disk, each point has two; of two of a wire, one.
    let passes = failures.len().div_ceil(2).max(2);
    for (pass, failure) in failures.iter().enumerate() {
        for n in 1.. {
            assert!(n < POINTS_MAX, "{}: no end of points", scene.name);
            if left_out_of(pass, passes, n, until) {
                continue;
            }
            let mut round = scene.round(&Bases::one(&std::env::temp_dir()));
            let list = round.world.path("points");
            let failed = round.run(&format!("list={},{failure}", list.display()).replace('#', &n.to_string()));
            assert!((0..=4).contains(&failed.code), "{} {failure} {n} ended oddly: {}", scene.name, failed.stderr);
            assert!(!failed.stderr.contains("panicked"), "{} {failure} {n}: {}", scene.name, failed.stderr);
            let reached = std::fs::read_to_string(&list).unwrap_or_default().lines().count() as u64;
            if reached < n {
                assert!(n > 20, "{}: only {n} points were reached", scene.name);
                break;
            }
            if n % 2 == 0 || failure.starts_with("lose") {
                round.consume();
            }
            again(&mut round, &mut tally, &format!("{} {failure} {n} ({})", scene.name, failed.stderr.trim()));
            if until == Until::FirstFault && !tally.clean() {
                return tally;
            }
        }
    }
    tally
}

const DISK: &[&str] = &["fail=#:ENOSPC", "fail-from=#:ENOSPC", "fail=#:EIO", "fail=#:EMFILE", "fail=#:EROFS", "fail=#:short"];
const WIRE: &[&str] = &["fail=#:EIO", "lose=#"];

fn sftp(name: &'static str, arguments: &str, destination: &'static str) -> Scene {
    Scene { destination, ..Scene::at(name, Server::Sftp(Sshd::with("", arguments))) }
}

const NO_POSIX_RENAME: &str = "-P posix-rename";
const NO_EXTENSIONS: &str = "-P posix-rename,fsync";

#[test]
fn local_wait_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene::local("local wait", ""));
}
#[test]
fn local_replace_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene::local("local replace", "if_exists = \"replace\"\n").with_old());
}
#[test]
fn local_rename_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene::local("local rename", "if_exists = \"rename\"\n").with_old());
}
#[test]
fn local_fail_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene { may_fail: true, ..Scene::local("local fail", "if_exists = \"fail\"\n") }.with_old());
}
#[test]
fn a_transformed_file_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene::local("transformed", "").csv());
}
#[test]
fn changes_of_a_sync_group_survive_a_kill_at_every_point() {
    kill_everywhere(&Scene::local("synchronised", "").synchronised());
}
#[test]
fn changes_of_a_sync_group_survive_every_failing_call() {
    fail_everywhere(&Scene { files: 1, ..Scene::local("synchronised", "").synchronised() }, DISK);
}
#[test]
fn a_file_in_parts_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene::local("split", "").split());
}
#[test]
fn a_file_in_parts_sent_by_sftp_survives_every_lost_answer() {
    fail_everywhere(&Scene { files: 1, ..sftp("sftp, split", "", "").split() }, &["lose=#"]);
}
#[test]
fn a_compressed_archive_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene { more: "[archive]\ncompress = \"zstd\"\n", ..Scene::local("archive compressed", "") });
}
#[test]
fn a_large_file_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene { planted: "plant=large", ..Scene::local("large, transformed", "").csv() });
}
#[test]
fn a_large_file_sent_by_sftp_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene { planted: "plant=large", ..sftp("large, sftp wait", "", "") });
}
#[test]
fn sftp_wait_survives_a_kill_at_every_point() {
    kill_everywhere(&sftp("sftp wait", "", ""));
}
#[test]
fn sftp_replace_survives_a_kill_at_every_point() {
    kill_everywhere(&sftp("sftp replace", "", "if_exists = \"replace\"\n").with_old());
}
#[test]
fn sftp_rename_survives_a_kill_at_every_point() {
    kill_everywhere(&sftp("sftp rename", "", "if_exists = \"rename\"\n").with_old());
}
#[test]
fn sftp_without_posix_rename_survives_a_kill_at_every_point() {
    kill_everywhere(&sftp("sftp without posix-rename, replace", NO_POSIX_RENAME, "if_exists = \"replace\"\n").with_old());
}
#[test]
fn sftp_without_extensions_survives_a_kill_at_every_point() {
    kill_everywhere(&sftp("sftp without extensions", NO_EXTENSIONS, ""));
}
#[test]
fn ftp_wait_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene::at("ftp wait", Server::Ftp(Vsftpd::start(""))));
}
#[test]
fn ftp_replace_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene { destination: "if_exists = \"replace\"\n", ..Scene::at("ftp replace", Server::Ftp(Vsftpd::start(""))) }.with_old());
}
#[test]
fn webdav_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene::at("webdav", Server::Dav(Nginx::start(None))));
}
#[test]
fn put_survives_a_kill_at_every_point() {
    kill_everywhere(&Scene::at("put", Server::Put(Nginx::start(None))));
}

#[test]
fn local_survives_every_failing_call() {
    fail_everywhere(&Scene::local("local", ""), DISK);
}
#[test]
fn a_compressed_archive_survives_every_failing_call() {
    fail_everywhere(&Scene { more: "[archive]\ncompress = \"zstd\"\n", files: 1, ..Scene::local("archive compressed", "") }, DISK);
}
#[test]
fn a_transformed_file_survives_every_failing_call() {
    fail_everywhere(&Scene::local("transformed", "").csv(), DISK);
}
#[test]
fn sftp_survives_every_failing_request_and_every_lost_answer() {
    fail_everywhere(&sftp("sftp", "", ""), WIRE);
}
#[test]
fn sftp_without_posix_rename_survives_every_lost_answer() {
    fail_everywhere(&sftp("sftp without posix-rename, replace", NO_POSIX_RENAME, "if_exists = \"replace\"\n").with_old(), WIRE);
}
#[test]
fn ftp_survives_every_failing_request_and_every_lost_answer() {
    fail_everywhere(&Scene::at("ftp", Server::Ftp(Vsftpd::start(""))), WIRE);
}
#[test]
fn webdav_survives_every_failing_request_and_every_lost_answer() {
    fail_everywhere(&Scene::at("webdav", Server::Dav(Nginx::start(None))), WIRE);
}

/// The journal is lost after a kill at each point.
#[test]
fn a_journal_lost_after_a_kill_at_any_point_loses_and_doubles_nothing() {
    for scene in [Scene::local("local", ""), Scene::local("transformed", "").csv(), sftp("sftp", "", ""), Scene::at("ftp", Server::Ftp(Vsftpd::start("")))] {
        let mut tally = Tally::default();
        for n in 1.. {
            if left_out_of(1, 2, n, Until::End) {
                continue;
            }
            let mut round = scene.round(&Bases::one(&std::env::temp_dir()));
            let killed = round.run(&format!("kill=before:{n}"));
            if finished(&killed) {
                break;
            }
            if n % 2 == 0 {
                round.consume();
            }
            for part in ["journal.db", "journal.db-wal", "journal.db-shm"] {
                let _ = std::fs::remove_file(round.world.path("relay").join(part));
            }
            again(&mut round, &mut tally, &format!("{} journal lost after a kill before {n}", scene.name));
        }
        tally.end(&format!("{}: journal lost after a kill before every point", scene.name));
    }
}
