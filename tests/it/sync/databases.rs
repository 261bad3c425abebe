//! Two programs with databases of their own: a shop on SQLite beside the relay, an ERP on PostgreSQL behind an SFTP server.
//! Each exports all its customers by SQL and imports what comes by SQL; the customers are those of `PASSERELLE_DATA`.

use std::fs;
use std::path::PathBuf;

use crate::data::data;
use crate::servers::Sshd;
use crate::servers::databases::{Postgres, Sqlite};
use crate::world::World;

const ROUTES: &str = r#"
[routes.shop-to-erp]
source = { path = "shop_out", settle = "20ms" }
input = { format = "csv", delimiter = ";", decimal = ",", dates = "%d/%m/%Y", types = { Solde = "decimal", Cree = "date" } }
output = { format = "csv", name = "customers_{job}.csv" }
destination = { endpoint = "erp", path = "in" }
sync = { group = "customers", key = ["customer_id"], deletes = "send", max_deletes = "50%", conflict = "source" }

[routes.shop-to-erp.map]
customer_id = "Code"
name        = "Nom"
city        = "Ville"
balance     = "Solde | round(2)"
since       = "Cree"
newsletter  = "'t' if Lettre == 'O' else 'f'"
op          = "sync.op"

[routes.erp-to-shop]
source = { endpoint = "erp", path = "out", settle = "20ms", poll_interval = "200ms" }
input = { format = "csv", types = { balance = "decimal", since = "date" } }
output = { format = "csv", delimiter = ";", decimal = ",", dates = "%d/%m/%Y", name = "clients_{job}.csv" }
destination = { path = "shop_in" }
sync = { group = "customers", key = ["Code"], deletes = "send", max_deletes = "50%", conflict = "target" }

[routes.erp-to-shop.map]
Code   = "customer_id"
Nom    = "name"
Ville  = "city"
Solde  = "balance | round(2)"
Cree   = "since"
Lettre = "'O' if newsletter == 't' else 'N'"
op     = "sync.op"
"#;

struct Exchange {
    w: World,
    server: Sshd,
    shop: Sqlite,
    erp: Postgres,
    exports: u32,
}

impl Exchange {
    /// The shop with PrestaShop's customers and their cities, the ERP with Odoo's contacts.
    fn new() -> Self {
        let server = Sshd::start();
        for folder in ["in", "out"] {
            fs::create_dir_all(server.dir.path().join("root").join(folder)).unwrap();
        }
        let endpoint = server.endpoint_at("erp", &server.dir.path().join("root"));
        let w = World::new(&format!("{endpoint}{ROUTES}"));
        for folder in ["shop_out", "shop_in"] {
            fs::create_dir(w.path(folder)).unwrap();
        }
        let shop = Sqlite::at(w.path("shop.db"));
        let pair = data().join("pairs/04-prestashop-to-shopify-customers");
        shop.run(&format!(
            "create table client (code text primary key, nom text, ville text, solde integer, cree text, lettre text);
             .mode csv\n.separator ;\n.import '{p}/customers.csv' c\n.import '{p}/addresses.csv' a\n
             insert into client select 'PS' || \"Customer ID\", \"First Name *\" || ' ' || \"Last Name *\",
               coalesce((select \"City*\" from a where a.\"Customer e-mail*\" = c.\"Email *\" limit 1), ''),
               \"Customer ID\" * 12345, \"Registration date (yyyy-mm-dd)\", iif(\"Newsletter (0/1)\" = '1', 'O', 'N') from c;",
            p = pair.display()
        ));
        let erp = Postgres::start();
        erp.run(&format!(
            "create table customer (customer_id text primary key, name text, city text, balance numeric(12,2), since date, newsletter boolean);
             create temp table odoo (n serial, name text, company text, related text, kind text, street text, zip text, city text, state text, country text);
             \\copy odoo (name, company, related, kind, street, zip, city, state, country) from '{}' with (format csv, header)
             insert into customer select 'OD' || n, name, city, n * 100.5, date '2020-01-01' + n, n % 2 = 0 from odoo;",
            data().join("targets/odoo-customers-contacts.csv").display()
        ));
        let x = Self { w, server, shop, erp, exports: 0 };
        assert_eq!((x.shop_rows().lines().count(), x.erp_rows().lines().count()), (9, 8));
        x
    }

    fn at_server(&self, name: &str) -> PathBuf {
        self.server.dir.path().join("root").join(name)
    }

    /// Writes an export under a name that never matches, and renames it.
    fn leave(&self, folder: PathBuf, text: &str) {
        let name = format!("export{:03}.csv", self.exports);
        fs::write(folder.join(format!("{name}.tmp")), text).unwrap();
        fs::rename(folder.join(format!("{name}.tmp")), folder.join(name)).unwrap();
    }

    fn shop_exports(&mut self) {
        self.exports += 1;
        let text = self.shop.run(
            ".mode csv\n.separator ; \"\\n\"\n.headers on\nselect code Code, nom Nom, ville Ville, replace(printf('%.2f', solde / 100.0), '.', ',') Solde, strftime('%d/%m/%Y', cree) Cree, lettre Lettre from client order by code;",
        );
        self.leave(self.w.path("shop_out"), &text);
    }

    fn erp_exports(&mut self) {
        self.exports += 1;
        let text = self
            .erp
            .run("copy (select customer_id, name, city, balance, since, newsletter from customer order by customer_id) to stdout with (format csv, header);");
        self.leave(self.at_server("out"), &text);
    }

    /// Imports what was delivered, in the order of the jobs; how many records.
    fn shop_imports(&self) -> usize {
        let mut records = 0;
        for file in in_order(self.w.path("shop_in")) {
            records += fs::read_to_string(&file).unwrap().lines().count().saturating_sub(1);
            self.shop.run(&format!(
                "drop table if exists i;\n.mode csv\n.separator ;\n.import '{}' i\nbegin;
                 delete from client where code in (select Code from i where op = 'deleted');
                 insert into client select Code, Nom, Ville, cast(round(replace(Solde, ',', '.') * 100) as integer),
                   substr(Cree, 7, 4) || '-' || substr(Cree, 4, 2) || '-' || substr(Cree, 1, 2), Lettre from i where op <> 'deleted'
                 on conflict (code) do update set nom = excluded.nom, ville = excluded.ville, solde = excluded.solde, cree = excluded.cree, lettre = excluded.lettre;
                 commit;",
                file.display()
            ));
            fs::remove_file(file).unwrap();
        }
        records
    }

    fn erp_imports(&self) -> usize {
        let mut records = 0;
        for file in in_order(self.at_server("in")) {
            records += fs::read_to_string(&file).unwrap().lines().count().saturating_sub(1);
            self.erp.run(&format!(
                "begin;\ncreate temp table i (customer_id text, name text, city text, balance numeric(12,2), since date, newsletter boolean, op text) on commit drop;
                 \\copy i from '{}' with (format csv, header)
                 delete from customer where customer_id in (select customer_id from i where op = 'deleted');
                 insert into customer select customer_id, name, city, balance, since, newsletter from i where op <> 'deleted'
                 on conflict (customer_id) do update set name = excluded.name, city = excluded.city, balance = excluded.balance, since = excluded.since, newsletter = excluded.newsletter;
                 commit;",
                file.display()
            ));
            fs::remove_file(file).unwrap();
        }
        records
    }

    /// Each program exports all it has, and then imports what the other has: an import of whole records overwrites what was
    /// edited since the export. How many records went to the ERP and to the shop.
    fn round(&mut self) -> (usize, usize) {
        self.shop_exports();
        self.erp_exports();
        self.w.once().ok();
        (self.erp_imports(), self.shop_imports())
    }

    fn shop_rows(&self) -> String {
        self.shop.run(".mode list\n.separator |\nselect code, nom, ville, printf('%.2f', solde / 100.0), date(cree), lettre from client order by code;")
    }

    fn erp_rows(&self) -> String {
        self.erp.run(
            "\\pset format unaligned\n\\pset tuples_only on\nselect customer_id, name, city, balance, since, case when newsletter then 'O' else 'N' end from customer order by customer_id;",
        )
    }

    /// After quiet: both hold the same, and nothing goes any more.
    fn assert_settled(&mut self) {
        for _ in 0..3 {
            self.round();
        }
        assert_eq!(self.round(), (0, 0));
        assert_eq!(self.shop_rows(), self.erp_rows());
    }
}

fn in_order(folder: PathBuf) -> Vec<PathBuf> {
    let job = |p: &PathBuf| -> u64 { p.file_stem().unwrap().to_str().unwrap().rsplit('_').next().unwrap().parse().unwrap() };
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort_by_key(job);
    files
}

#[test]
fn two_databases_hold_the_same_customers_over_sftp() {
    let mut x = Exchange::new();
    // Each learns the other's; nothing comes back to where it was.
    assert_eq!(x.round(), (9, 8));
    assert_eq!(x.round(), (0, 0));
    assert_eq!(x.shop_rows(), x.erp_rows());
    assert_eq!(x.shop_rows().lines().count(), 17);

    // Changes on both sides, of different records, of different columns of one, of values that need care.
    x.shop.run("update client set nom = 'L''Été \"chez\" Zoë; & Cie', solde = 100050 where code = 'PS1'; update client set ville = 'Pau' where code = 'OD2';");
    x.shop.run("insert into client values ('N1', 'Nouveau\nsur deux lignes', 'Nîmes', -1999, '2025-12-31', 'O'); delete from client where code = 'PS3';");
    x.erp.run("update customer set balance = 7.10 where customer_id = 'OD2'; update customer set newsletter = not newsletter where customer_id = 'PS4';");
    x.erp.run("insert into customer values ('E1', 'Straße 5', 'Köln', 0.05, '2024-02-29', false); delete from customer where customer_id = 'OD5';");
    x.assert_settled();
    let rows = x.erp_rows();
    for told in ["PS1|L'Été \"chez\" Zoë; & Cie|", "OD2|Roger Martins|Pau|7.10|", "E1|Straße 5|Köln|0.05|2024-02-29|N"] {
        assert!(rows.contains(told), "{told}: {rows}");
    }
    assert!(!rows.contains("PS3|") && !rows.contains("OD5|"), "{rows}");

    // The same column on both sides: the shop's value wins, as both routes say.
    x.shop.run("update client set ville = 'Lyon' where code = 'PS2';");
    x.erp.run("update customer set city = 'Lille' where customer_id = 'PS2';");
    x.assert_settled();
    assert!(x.erp_rows().contains("|Lyon|"), "{}", x.erp_rows());

    // The server is away while both go on; then only what counts now is sent.
    x.server.stop();
    for city in ["Metz", "Nancy", "Toul"] {
        x.shop.run(&format!("update client set ville = '{city}' where code = 'PS6';"));
        x.shop_exports();
        x.w.once().code(3);
    }
    x.erp.run("update customer set name = 'Changed meanwhile' where customer_id = 'OD1';");
    x.server.restart();
    x.w.once();
    x.erp_imports();
    x.assert_settled();
    let rows = x.erp_rows();
    assert!(rows.contains("|Toul|") && rows.contains("OD1|Changed meanwhile|"), "{rows}");
    assert!(x.w.states().iter().any(|s| s == "superseded"), "{:?}", x.w.states());
    assert!(!x.w.states().iter().any(|s| s == "failed" || s == "held"), "{:?}", x.w.states());
}

#[test]
fn two_databases_hold_the_same_after_the_relay_was_killed_again_and_again() {
    let mut x = Exchange::new();
    x.round();
    let mut chance = 7u64;
    let mut below = |n: u64| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) % n
    };
    for step in 0..12 {
        let (shop, erp) = (below(9), below(8) + 1);
        x.shop.run(&format!(
            "update client set ville = 'Ville {step}' where code = 'PS{shop}'; update client set solde = solde + {step} where code = 'OD{erp}';"
        ));
        x.erp.run(&format!("update customer set name = 'Name {step}' where customer_id = 'OD{erp}'; insert into customer values ('E{step}', 'n', 'c', {step}, '2025-01-01', true);"));
        x.shop_exports();
        x.erp_exports();
        let mut relay = x.w.start();
        std::thread::sleep(std::time::Duration::from_millis(40 + below(500)));
        relay.signal("KILL");
        relay.wait();
        // What a killed relay has delivered is imported now or later.
        if below(2) == 0 {
            x.w.once();
            x.erp_imports();
            x.shop_imports();
        }
    }
    x.w.once();
    x.erp_imports();
    x.shop_imports();
    x.assert_settled();
    assert_eq!(x.shop_rows().lines().count(), 17 + 12);
}
