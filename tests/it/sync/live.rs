//! Two programs that edit, export and import at their own pace, beside a relay that runs and is killed now and then: after
//! quiet both hold the same.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use super::nothing;
use crate::world::{Relay, World};

type Records = BTreeMap<String, [String; 2]>;

const CONFIG: &str = r#"
[routes.ab]
source = { path = "a_out", settle = "20ms", poll_interval = "1s" }
input = { format = "csv" }
map = { code = "key", nom = "a_nom", ville = "a_ville", op = "sync.op" }
output = { format = "csv", name = "{job}.csv" }
destination = { path = "b_in" }
sync = { group = "g", key = ["code"], deletes = "send", max_deletes = "100%", conflict = "source" }
[routes.ba]
source = { path = "b_out", settle = "20ms", poll_interval = "1s" }
input = { format = "csv" }
map = { key = "code", a_nom = "nom", a_ville = "ville", op = "sync.op" }
output = { format = "csv", name = "{job}.csv" }
destination = { path = "a_in" }
sync = { group = "g", key = ["key"], deletes = "send", max_deletes = "100%", conflict = "target" }
"#;

struct Both {
    w: World,
    records: [Records; 2],
    exports: u32,
    chance: u64,
}

impl Both {
    fn below(&mut self, n: u64) -> u64 {
        self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.chance >> 33) % n
    }
    fn export(&mut self, side: usize) {
        self.exports += 1;
        let mut text = ["key,a_nom,a_ville\n", "code,nom,ville\n"][side].to_owned();
        self.records[side].iter().for_each(|(key, r)| text.push_str(&format!("{key},{},{}\n", r[0], r[1])));
        let folder = ["a_out", "b_out"][side];
        self.w.write(&format!("{folder}/e{}.tmp", self.exports), text);
        fs::rename(self.w.path(&format!("{folder}/e{}.tmp", self.exports)), self.w.path(&format!("{folder}/e{}.csv", self.exports))).unwrap();
    }
    /// Takes what was delivered, in the order of the jobs.
    fn import(&mut self, side: usize) -> usize {
        let folder = ["a_in", "b_in"][side];
        let mut jobs: Vec<u64> = self.w.names(folder).iter().filter_map(|n| n.strip_suffix(".csv")?.parse().ok()).collect();
        jobs.sort_unstable();
        for job in &jobs {
            let name = format!("{folder}/{job}.csv");
            for line in self.w.read(&name).lines().skip(1) {
                let cells: Vec<&str> = line.split(',').collect();
                match cells[3] {
                    "deleted" => drop(self.records[side].remove(cells[0])),
                    _ => drop(self.records[side].insert(cells[0].to_owned(), [cells[1].to_owned(), cells[2].to_owned()])),
                }
            }
            fs::remove_file(self.w.path(&name)).unwrap();
        }
        jobs.len()
    }
    fn edit(&mut self, side: usize, number: u32) {
        let key = format!("K{}", self.below(8));
        if self.below(9) == 0 {
            self.records[side].remove(&key);
        } else {
            let column = self.below(2) as usize;
            self.records[side].entry(key).or_default()[column] = format!("{}{number}", ["a", "b"][side]);
        }
    }
    /// Waits until the relay has nothing in hand.
    fn until_idle(&self) {
        self.w.until("idle", || {
            let waiting = |folder: &str| fs::read_dir(self.w.path(folder)).unwrap().flatten().any(|e| e.path().is_file());
            let status = self.w.json(&["status", "--json"]);
            let busy = status["routes"].as_array().unwrap().iter().any(|r| r["waiting"].as_u64() != Some(0) || r["in_flight"].as_u64() != Some(0));
            let open = self
                .w
                .run(&["history", "--json", "--limit", "20"])
                .stdout
                .lines()
                .any(|l| ["claimed", "transforming", "delivering", "waiting"].iter().any(|s| l.contains(&format!("\"state\":\"{s}\""))));
            !waiting("a_out") && !waiting("b_out") && !busy && !open
        });
    }
}

#[test]
fn two_programs_and_a_relay_that_is_killed_hold_the_same_after_quiet() {
    let w = World::new(CONFIG);
    for folder in ["a_out", "a_in", "b_out", "b_in"] {
        fs::create_dir(w.path(folder)).unwrap();
    }
    let mut x = Both { w, records: Default::default(), exports: 0, chance: 20_261_126 };
    let mut relay: Relay = x.w.start();
    let end = Instant::now() + Duration::from_secs(8);
    let (mut edits, mut kills) = (0, 0);
    while Instant::now() < end {
        let side = x.below(2) as usize;
        match x.below(20) {
            0..=8 => {
                edits += 1;
                x.edit(side, edits);
            }
            9..=12 => x.export(side),
            13..=18 => drop(x.import(side)),
            _ => {
                relay.signal("KILL");
                relay.wait();
                kills += 1;
                relay = x.w.start();
            }
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    assert!(edits > 20 && kills > 0, "{edits} edits, {kills} kills");
    let mut quiet = 0;
    for _ in 0..30 {
        let mut moved = 0;
        for side in [0, 1] {
            x.export(side);
            x.until_idle();
            moved += x.import(1 - side);
        }
        quiet = if moved == 0 { quiet + 1 } else { 0 };
        if quiet == 2 {
            break;
        }
    }
    assert_eq!(quiet, 2, "it never ends");
    assert_eq!(x.records[0], x.records[1]);
    let failed: Vec<String> = x.w.states().into_iter().filter(|s| !["delivered", "superseded"].contains(&s.as_str())).collect();
    assert_eq!(failed, nothing());
    drop(relay);
}
