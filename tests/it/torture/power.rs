//! Power cuts: a loop ext4 file system that is shut down without flushing its log, so that all that was not synced is gone.
//!
//! Needs root and loop devices. Where there are none these tests fail, unless `PASSERELLE_NO_POWER_CUTS=1` says that
//! somebody knows.

use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Bases, Scene, Server, Tally, Until, left_out_of};
use crate::servers::Sshd;

/// Whether power cuts can't be made here and somebody said that this is known.
pub fn left_out() -> bool {
    let known = std::env::var_os("PASSERELLE_NO_POWER_CUTS").is_some();
    if known {
        eprintln!("NOTE: PASSERELLE_NO_POWER_CUTS is set: power cuts were NOT tested");
    }
    known
}

/// A file system whose power can be cut.
pub struct Disk {
    dir: tempfile::TempDir,
    pub mount: PathBuf,
}

fn command(program: &str, arguments: &[&str]) {
    let out = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    assert!(
        out.status.success(),
        "{program} {arguments:?}: {} (root and loop devices are needed; see PASSERELLE_NO_POWER_CUTS)",
        String::from_utf8_lossy(&out.stderr)
    );
}

impl Disk {
    pub fn new() -> Self {
        Self::of("64M", "")
    }
    /// Of this size, made with these further options of mkfs.
    pub fn of(size: &str, options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        command("truncate", &["-s", size, image.to_str().unwrap()]);
        let mut arguments: Vec<&str> = vec!["-q"];
        arguments.extend(options.split_whitespace());
        arguments.push(image.to_str().unwrap());
        command("mkfs.ext4", &arguments);
        let mount = dir.path().join("disk");
        fs::create_dir(&mount).unwrap();
        let disk = Self { dir, mount };
        disk.mount();
        disk
    }
    fn mount(&self) {
        let image = self.dir.path().join("image");
        // Nothing is written back by itself, and no rename is made safer than it is elsewhere.
        command("mount", &["-o", "loop,commit=600,noauto_da_alloc", image.to_str().unwrap(), self.mount.to_str().unwrap()]);
    }
    fn unmount(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        // A server's process may still hold a file for a moment.
        while !Command::new("umount").arg(&self.mount).output().unwrap().status.success() {
            assert!(Instant::now() < end, "{} stays in use", self.mount.display());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    /// All that was written until now is there after a cut.
    pub fn sync(&self) {
        rustix::fs::syncfs(fs::File::open(&self.mount).unwrap()).unwrap();
    }
    pub fn clear(&self) {
        for entry in fs::read_dir(&self.mount).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name().unwrap() != "lost+found" {
                let _ = fs::remove_dir_all(path);
            }
        }
    }
    /// What was not synced is gone.
    pub fn cut(&self) {
        self.shut_down();
        self.unmount();
        self.mount();
    }
    /// From now on every call there fails with EIO, as on a disk that was pulled out.
    #[allow(unsafe_code)]
    pub fn shut_down(&self) {
        /// `FS_IOC_SHUTDOWN`, and its flag for "without flushing the log".
        const SHUTDOWN: libc::c_ulong = 0x8004_587d;
        const NO_LOG_FLUSH: u32 = 2;
        let folder = fs::File::open(&self.mount).unwrap();
        // SAFETY: the descriptor is open, and the call reads one u32 that lives until it returns.
        let done = unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN, &NO_LOG_FLUSH) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.mount).output();
    }
}

/// Cuts the power at each point, and once when all is done. In the quick set the passes of a scene share the points.
pub fn cut_everywhere(scene: &Scene, at: &Bases<'_>, disks: &[&Disk], pass: usize, until: Until) -> Tally {
    let mut tally = Tally::default();
    for n in 1.. {
        if left_out_of(pass, 2, n, until) {
            continue;
        }
        let mut round = scene.round(at);
        disks.iter().for_each(|d| d.sync());
        if scene.unsynced {
            round.write_again();
        }
        let killed = round.run(&format!("kill=before:{n}"));
        disks.iter().for_each(|d| d.cut());
        super::again(&mut round, &mut tally, &format!("{} power cut at {n}", scene.name));
        // Each round leaves its folders on A's and B's disks.
        for disk in disks {
            disk.clear();
        }
        if killed.code >= 0 || (until == Until::FirstFault && !tally.clean()) {
            return tally;
        }
    }
    tally
}

/// Everything on one disk; then A, B and home each on their own.
fn survives(scene: &Scene) {
    if left_out() {
        return;
    }
    let (home, a, b) = (Disk::new(), Disk::new(), Disk::new());
    cut_everywhere(scene, &Bases::one(&home.mount), &[&home], 0, Until::End).end(&format!("{}: power cut at every point, one disk", scene.name));
    let bases = Bases { home: &home.mount, a: &a.mount, b: &b.mount };
    cut_everywhere(scene, &bases, &[&home, &a, &b], 1, Until::End).end(&format!("{}: power cut at every point, three disks", scene.name));
    let bases = Bases { home: &home.mount, a: &home.mount, b: &b.mount };
    cut_everywhere(scene, &bases, &[&b], 0, Until::End).end(&format!("{}: kill here and power cut of B's disk at every point", scene.name));
}

#[test]
fn waiting_files_survive_a_power_cut_at_every_point() {
    survives(&Scene::local("local wait", ""));
}
#[test]
fn replacing_files_survive_a_power_cut_at_every_point() {
    survives(&Scene::local("local replace", "if_exists = \"replace\"\n").with_old());
}
#[test]
fn transformed_files_survive_a_power_cut_at_every_point() {
    survives(&Scene::local("transformed", "").csv());
}
#[test]
fn files_sent_by_sftp_survive_a_power_cut_at_every_point() {
    if left_out() {
        return;
    }
    let scene = Scene::at("sftp wait", Server::Sftp(Sshd::start()));
    let (home, b) = (Disk::new(), Disk::new());
    let bases = Bases { home: &home.mount, a: &home.mount, b: &b.mount };
    cut_everywhere(&scene, &bases, &[&home, &b], 0, Until::End).end("sftp wait: power cut at every point, both hosts");
    cut_everywhere(&scene, &bases, &[&b], 1, Until::End).end("sftp wait: kill here and power cut of B's disk at every point");
}
