//! The harness is honest: each of these planted faults is seen by it.

use super::power::{self, Disk};
use super::{Bases, Scene, Server, Tally, Until, steps};
use crate::servers::{Sshd, Vsftpd};

/// How a fault shows.
#[derive(Clone, Copy)]
enum Proof {
    /// By kills at every point.
    Kill,
    /// By power cuts at every point, with A, B and home on disks of their own.
    Power,
    /// The same, with A and home on one disk.
    PowerTwoDisks,
    /// By a failing call at every point.
    Fail(&'static [&'static str]),
    /// By a request whose answer is lost.
    Lose,
}

fn seen(fault: &'static str, proof: Proof, scene: Scene) {
    let scene = Scene { planted: fault, ..scene };
    let tally: Tally = match proof {
        Proof::Kill => steps::kill_each(&scene, Until::FirstFault),
        Proof::Fail(how) => steps::fail_each(&scene, how, Until::FirstFault),
        Proof::Lose => steps::fail_each(&scene, &["lose=#"], Until::FirstFault),
        Proof::Power | Proof::PowerTwoDisks => {
            if power::left_out() {
                return;
            }
            let (home, a, b) = (Disk::new(), Disk::new(), Disk::new());
            let disks: Vec<&Disk> = vec![&home, &a, &b];
            let a_base = if matches!(proof, Proof::Power) { &a.mount } else { &home.mount };
            power::cut_everywhere(&scene, &Bases { home: &home.mount, a: a_base, b: &b.mount }, &disks, 0, Until::FirstFault)
        }
    };
    println!("planted {fault}: seen after {} cycles: {}", tally.cycles, tally.line(scene.name));
    assert!(!tally.clean(), "the planted fault {fault} was not seen in {} cycles", tally.cycles);
}

fn local() -> Scene {
    Scene::local("local", "")
}
fn csv() -> Scene {
    Scene::local("transformed", "").csv()
}
fn sftp() -> Scene {
    Scene::at("sftp", Server::Sftp(Sshd::start()))
}

#[test]
fn the_originals_sync_left_out_is_seen() {
    // A's program does not sync what it writes: the relay must.
    seen("skip=sync-file@/.passerelle/", Proof::PowerTwoDisks, Scene { unsynced: true, ..local() });
}
#[test]
fn a_claim_that_is_not_synced_is_seen() {
    seen("skip=sync-folder@.passerelle,skip=sync-file@/.passerelle/", Proof::Power, local());
}
#[test]
fn bs_files_sync_left_out_is_seen() {
    seen("skip=sync-file@.part", Proof::PowerTwoDisks, local());
}
#[test]
fn bs_folders_sync_left_out_is_seen() {
    seen("skip=sync-folder@/b", Proof::PowerTwoDisks, local());
}
#[test]
fn the_archives_sync_left_out_is_seen() {
    seen("skip=sync-file@/archive/", Proof::Power, local());
}
#[test]
fn the_made_files_sync_left_out_is_seen() {
    seen("skip=sync-file@/work/,plant=large", Proof::PowerTwoDisks, csv());
}
#[test]
fn sftps_sync_of_files_left_out_is_seen() {
    seen("plant=no-remote-sync", Proof::PowerTwoDisks, sftp());
}
#[test]
fn sftps_sync_of_the_folder_left_out_is_seen() {
    seen("skip=remote-sync-folder", Proof::PowerTwoDisks, sftp());
}
#[test]
fn a_journal_that_does_not_sync_is_seen() {
    seen("plant=lazy-journal", Proof::Power, local());
}
#[test]
fn a_publish_without_intent_is_seen() {
    seen("skip=publishing", Proof::Kill, local());
}
#[test]
fn a_publish_that_is_only_called_done_is_seen() {
    seen("skip=rename@/b/", Proof::Kill, local());
}
#[test]
fn an_upload_that_is_not_verified_is_seen() {
    seen("plant=truncate,plant=no-verify", Proof::Kill, local());
}
#[test]
fn a_temporary_name_drawn_anew_is_seen() {
    seen("plant=new-temporary-names", Proof::Kill, local());
}
#[test]
fn a_claim_that_is_forgotten_is_seen() {
    seen("plant=forget-claims", Proof::Kill, local());
}
#[test]
fn an_unknown_rename_called_failed_is_seen() {
    seen("plant=unknown-is-failed", Proof::Kill, local());
}
#[test]
fn an_unknown_rename_called_done_is_seen() {
    seen("plant=unknown-is-done", Proof::Kill, local());
}
#[test]
fn a_lost_answer_called_failed_is_seen() {
    seen("plant=lost-is-failed", Proof::Lose, Scene::at("ftp", Server::Ftp(Vsftpd::start(""))));
}
#[test]
fn an_archive_that_is_only_called_done_is_seen() {
    seen("skip=rename@/archive/", Proof::Kill, local());
}
#[test]
fn an_error_of_a_disk_called_a_fault_of_the_file_is_seen() {
    seen("plant=disk-condemns", Proof::Fail(&["fail=#:ENOSPC"]), csv());
}
#[test]
fn a_write_error_that_is_swallowed_is_seen() {
    seen("plant=swallow-write-errors", Proof::Fail(&["fail=#:ENOSPC"]), csv());
}
