"""The second full export of a synchronised route: only what changed is sent, beside what finds the same differences."""
import csv
import os
import shutil
import subprocess

from . import common
from .common import BINARY, nothing, table
from .peers import duckdb_python, rust_peers

HEADER = "Code,RaisonSociale,Prenom,Nom,Adresse,CodePostal,Ville,Pays,Email,Solde,Cree,Actif\n"


def make(path, second):
    """An export; in the second one, 1 % of the records are modified, 0.5 % added, 0.5 % deleted."""
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write(HEADER)
        extra = common.args.rows // 200 if second else 0
        for i in range(common.args.rows + extra):
            if second and i % 200 == 7 and i < common.args.rows:
                continue
            town = "Besançon" if second and i % 100 == 3 else "Saint-Étienne"
            street = f'"{i % 200} rue de l\'Église, bât. {i % 30}"'
            f.write(
                f"C{i:07d},Société {i},Éloïse{i % 100},Lefèvre{i % 1000},{street},{i % 95000:05d},{town},FRA,contact{i}@c{i % 5000}.example,"
                f'{(i * 37) % 1000000}.{i % 100:02d},{2000 + i % 26}-{1 + i % 12:02d}-{1 + i % 28:02d},{"O" if i % 5 else "N"}\n'
            )


ROUTES = """
[routes.there.source]
path = "a"
settle = "0s"
[routes.there.input]
format = "csv"
[routes.there.map]
{map}
[routes.there.output]
format = "csv"
name = "changes_{{job}}.csv"
[routes.there.destination]
path = "b"
[routes.there.sync]
key = ["Code"]
deletes = "{deletes}"
"""

DUCKDB = """
import duckdb
c = [l.strip() for l in open('columns')]
read = lambda f: f"read_csv('{f}', header=true, all_varchar=true, delim=',', quote='\\"', escape='\\"', auto_detect=false, columns={{{', '.join(repr(n) + ': ' + repr('VARCHAR') for n in c)}}})"
differs = ' OR '.join(f'a."{n}" IS DISTINCT FROM b."{n}"' for n in c[1:])
duckdb.sql(f'''COPY (SELECT coalesce(b.Code, a.Code) AS Code, {', '.join(f'coalesce(b."{n}", a."{n}") AS "{n}"' for n in c[1:])},
  CASE WHEN a.Code IS NULL THEN 'added' WHEN b.Code IS NULL THEN 'deleted' ELSE 'modified' END AS op
  FROM {read('first.csv')} a FULL OUTER JOIN {read('second.csv')} b ON a.Code = b.Code
  WHERE a.Code IS NULL OR b.Code IS NULL OR {differs}) TO 'duckdb.csv' (FORMAT csv, HEADER)''')
"""


def rows(path):
    with open(path, encoding="utf-8", newline="") as f:
        return sorted(list(csv.reader(f))[1:])


def sync(where):
    make(f"{where}/first.csv", False)
    make(f"{where}/second.csv", True)
    columns = HEADER.strip().split(",")
    with open(f"{where}/columns", "w") as f:
        f.write("\n".join(columns))
    with open(f"{where}/duck.py", "w") as f:
        f.write(DUCKDB)
    rust, python = rust_peers(), duckdb_python()
    version = subprocess.check_output([python, "-c", "import duckdb; print(duckdb.__version__)"], text=True).strip()
    size = os.path.getsize(f"{where}/second.csv") / 1e6

    def exchange(name, deletes):
        """A world that has relayed the first export; each round begins with a copy of it."""
        base = f"{where}/{name}"
        for folder in ("a", "b"):
            os.makedirs(f"{base}.0/{folder}")
        mapped = "\n".join(f'{c} = "{c}"' for c in columns) + '\nop = "sync.op"'
        with open(f"{base}.0/passerelle.toml", "w") as f:
            f.write(ROUTES.format(map=mapped, deletes=deletes))
        shutil.copy(f"{where}/first.csv", f"{base}.0/a/first.csv")
        subprocess.check_call([BINARY, "run", "--once"], cwd=f"{base}.0", stderr=subprocess.DEVNULL)
        memory = sum(os.path.getsize(f"{base}.0/relay/{n}") for n in os.listdir(f"{base}.0/relay") if n.startswith("journal.db"))
        print(f"  the memory with deletes = {deletes!r}: {memory / common.args.rows:.0f} bytes a record on disk")

        def prepare(export):
            shutil.rmtree(base, ignore_errors=True)
            shutil.copytree(f"{base}.0", base)
            for file in os.listdir(f"{base}/b"):
                os.remove(f"{base}/b/{file}")
            shutil.copy(f"{where}/{export}.csv", f"{base}/a/{export}-again.csv")

        return base, prepare

    plain, prepare_plain = exchange("plain", "ignore")
    deleting, prepare_deleting = exchange("deleting", "send")
    sent = lambda base: [f"{base}/b/{n}" for n in os.listdir(f"{base}/b")]

    def same_as_duckdb():
        (file,) = sent(deleting)
        ours, theirs = rows(file), rows(f"{where}/duckdb.csv")
        assert ours == theirs, f"{len(ours)} and {len(theirs)} changes, first {next((a, b) for a, b in zip(ours, theirs) if a != b)}"

    def nothing_sent():
        assert not sent(plain), "something was sent"

    run = [BINARY, "run", "--once"]
    with open(f"{where}/passerelle.toml", "w") as f:
        f.write(ROUTES.format(map="\n".join(f'{c} = "{c}"' for c in columns), deletes="ignore").split("[routes.there.sync]")[0])
    table(
        f"the second export of {common.args.rows:,} records ({size:.0f} MB; 1 % modified, 0.5 % added, 0.5 % deleted)",
        "records",
        common.args.rows,
        [
            (f"DuckDB {version}, full outer join", nothing, [python, "duck.py"], where, nothing),
            ("csv-diff, the engine of qsv", nothing, [f"{rust}/diff", "first.csv", "second.csv"], where, nothing),
            ("passerelle run --once, deletions", lambda: prepare_deleting("second"), run, deleting, same_as_duckdb),
            ("passerelle run --once", lambda: prepare_plain("second"), run, plain, nothing),
            ("passerelle, nothing has changed", lambda: prepare_plain("first"), run, plain, nothing_sent),
            ("passerelle transform, no sync", nothing, [BINARY, "transform", "there", "second.csv", "-o", "all.csv"], where, nothing),
        ],
    )
