//! kill -9 and power cuts at any moment, under load with eight files in flight, again and again.

use std::time::{Duration, Instant};

use super::power::{Disk, left_out};
use super::{Bases, Round, Scene, Server, Tally};
use crate::servers::{Sshd, Vsftpd};

/// How many stops a world lives through before its ledger is compared.
const STOPS: u64 = 20;
/// How many files A adds before each of them.
const FILES: usize = 12;

/// Random numbers from a seed that is told when something goes wrong (xorshift64*).
struct Random(u64);

impl Random {
    fn new() -> Self {
        let seed = std::env::var("PASSERELLE_TORTURE_SEED").ok().and_then(|s| s.parse().ok());
        Self(seed.unwrap_or_else(|| std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64) | 1)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % n
    }
}

/// How long the random parts last: a short while in a usual test run.
fn time() -> Duration {
    let minutes = std::env::var("PASSERELLE_TORTURE_MINUTES").ok().and_then(|m| m.parse::<f64>().ok());
    Duration::from_secs_f64(minutes.map_or(15.0, |m| m * 60.0))
}

fn torment(scene: &Scene, at: &Bases<'_>, disks: &[&Disk], time: Duration) -> Tally {
    let (mut tally, mut random, end) = (Tally::default(), Random::new(), Instant::now() + time);
    let mut cuts = 0;
    while Instant::now() < end {
        let seed = random.0;
        let mut round = scene.round(at);
        for stop in 1..=STOPS {
            round.add_files(FILES);
            disks.iter().for_each(|d| d.sync());
            let mut relay = round.world.start();
            std::thread::sleep(Duration::from_micros(random.below(160_000)));
            relay.child.kill().unwrap();
            relay.child.wait().unwrap();
            tally.cycles += 1;
            // What B imports would be undone by a power cut, which is B's own affair.
            if disks.is_empty() && random.below(3) == 0 {
                round.consume();
            }
            if !disks.is_empty() && (random.below(2) == 0 || stop == STOPS) {
                disks.iter().for_each(|d| d.cut());
                cuts += 1;
            }
        }
        tally.cycles -= 1;
        super::again(&mut round, &mut tally, &format!("{} (PASSERELLE_TORTURE_SEED={seed})", scene.name));
        disks.iter().for_each(|d| d.clear());
    }
    if !disks.is_empty() {
        println!("{}: {cuts} of these were power cuts:", scene.name);
    }
    tally
}

fn under_load(scene: Scene) -> Scene {
    Scene { jobs: 8, files: 0, ..scene }
}

impl Round {
    /// A renames further files in.
    fn add_files(&mut self, n: usize) {
        for _ in 0..n {
            let i = self.written.len();
            let (name, bytes) = (format!("{i}.csv"), format!("{}{i}\n", self.heads.0).into_bytes());
            self.world.write(&format!("a/{name}.tmp"), &bytes);
            std::fs::rename(self.world.path("a").join(format!("{name}.tmp")), self.world.path("a").join(&name)).unwrap();
            self.written.insert(name, bytes);
            self.wanted.push(format!("{}{i}\n", self.heads.1).into_bytes());
        }
    }
}

#[test]
fn kills_at_any_moment_lose_and_double_nothing() {
    let scenes = [
        under_load(Scene::local("local", "")),
        under_load(Scene::local("transformed", "").csv()),
        under_load(Scene::at("sftp", Server::Sftp(Sshd::start()))),
        under_load(Scene::at("ftp", Server::Ftp(Vsftpd::start("")))),
    ];
    let time = time() / scenes.len() as u32;
    for scene in scenes {
        torment(&scene, &Bases::one(&std::env::temp_dir()), &[], time).end(&format!("{}: random kill -9, 8 files in flight", scene.name));
    }
}

#[test]
fn power_cuts_at_any_moment_lose_and_double_nothing() {
    if left_out() {
        return;
    }
    let scenes =
        [under_load(Scene::local("local", "")), under_load(Scene::local("transformed", "").csv()), under_load(Scene::at("sftp", Server::Sftp(Sshd::start())))];
    let time = time() / scenes.len() as u32;
    let (home, b) = (Disk::new(), Disk::new());
    for scene in scenes {
        let bases = Bases { home: &home.mount, a: &home.mount, b: &b.mount };
        torment(&scene, &bases, &[&home, &b], time).end(&format!("{}: random kill -9 and power cuts, 8 files in flight", scene.name));
    }
}
