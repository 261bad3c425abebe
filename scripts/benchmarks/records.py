"""Records from one format to another: rows a second beside the peers, megabytes a second of one core, peak memory."""
import csv
import os
import shutil
import statistics
import struct
import subprocess
import sys

from . import common
from .common import BINARY, measure, nothing, table
from .peers import duckdb_python, rust_peers


def make_csv(path):
    towns = ["Bourg-en-Bresse", "Brest", "Toulouse", "Annecy", "Besançon", "Saint-Étienne", "L'Haÿ-les-Roses"]
    with open(path, "w", encoding="utf-8", newline="") as f:
        f.write("Code;RaisonSociale;Prenom;Nom;Adresse;CodePostal;Ville;Pays;Email;Solde;Cree;Actif\n")
        for i in range(common.args.rows):
            street = f"{i % 200} rue de l'Église" if i % 10 else f'"ZA ""Les Chênes"" ; bât. {i % 30}\nBP {i % 99}"'
            f.write(
                f"C{i:07d};  Société {i} ;Éloïse{i % 100};Lefèvre{i % 1000};{street};{i % 95000:05d};{towns[i % 7]};FRA;contact{i}@c{i % 5000}.example;"
                f'{(i * 37) % 1000000},{i % 100:02d};{1 + i % 28:02d}/{1 + i % 12:02d}/{2000 + i % 26};{"O" if i % 5 else "N"}\n'
            )


ROUTE = """
[routes.{name}]
where = "Actif == 'O'"
[routes.{name}.source]
path = "{name}-a"
[routes.{name}.input]
format = "csv"
delimiter = ";"
decimal = ","
dates = "%d/%m/%Y"
types = {{ Solde = "decimal", Cree = "date" }}
[routes.{name}.map]
code = "Code"
nom = "RaisonSociale | trim | upper"
adresse = "Adresse"
cp = "CodePostal"
ville = "Ville"
email = "Email"
solde = "Solde"
cree = "Cree"
[routes.{name}.output]
format = "{name}"
[routes.{name}.destination]
path = "{name}-b"
"""

DUCKDB = """
import duckdb, sys
how = "FORMAT csv, HEADER" if sys.argv[1] == "csv" else "FORMAT json"
duckdb.sql(f'''COPY (SELECT Code AS code, upper(trim(RaisonSociale)) AS nom, Adresse AS adresse, CodePostal AS cp, Ville AS ville, Email AS email,
  replace(Solde, ',', '.')::DECIMAL(18,2) AS solde, strptime(Cree, '%d/%m/%Y')::DATE AS cree
  FROM read_csv('in.csv', delim=';', header=true, all_varchar=true, quote='"', escape='"', new_line='\\\\n', auto_detect=false, columns={{
  'Code':'VARCHAR','RaisonSociale':'VARCHAR','Prenom':'VARCHAR','Nom':'VARCHAR','Adresse':'VARCHAR','CodePostal':'VARCHAR','Ville':'VARCHAR','Pays':'VARCHAR','Email':'VARCHAR','Solde':'VARCHAR','Cree':'VARCHAR','Actif':'VARCHAR'}})
  WHERE Actif = 'O') TO 'duckdb.{sys.argv[1]}' ({how})''')
"""


def same_csv(a, b):
    def check():
        with open(a, encoding="utf-8", newline="") as x, open(b, encoding="utf-8", newline="") as y:
            rows = 0
            for rows, (left, right) in enumerate(zip(csv.reader(x), csv.reader(y), strict=True)):
                assert left == right, f"row {rows} differs: {left} {right}"
            assert rows > 0
    return check


def records(where):
    with open(f"{where}/passerelle.toml", "w") as f:
        for name in ("csv", "ndjson"):
            route = ROUTE.format(name=name)
            f.write(route)
            f.write(route.replace(f"routes.{name}", f"routes.{name}1252").replace(f"{name}-a", f"{name}-c").replace('delimiter = ";"', 'delimiter = ";"\nencoding = "windows-1252"'))
    make_csv(f"{where}/in.csv")
    with open(f"{where}/in.csv", encoding="utf-8", newline="") as a, open(f"{where}/in1252.csv", "w", encoding="cp1252", newline="") as b:
        shutil.copyfileobj(a, b)
    rust = rust_peers()
    python = duckdb_python()
    with open(f"{where}/duck.py", "w") as f:
        f.write(DUCKDB)
    version = subprocess.check_output([python, "-c", "import duckdb; print(duckdb.__version__)"], text=True).strip()
    size = os.path.getsize(f"{where}/in.csv") / 1e6
    lines = lambda name: lambda: sum(1 for _ in open(f"{where}/{name}", "rb")) or sys.exit(f"{name} is empty")
    table(
        f"CSV → CSV, {common.args.rows:,} rows of 12 columns ({size:.0f} MB), 8 mapped, one filter",
        "rows",
        common.args.rows,
        [
            (f"DuckDB {version}", nothing, [python, "duck.py", "csv"], where, nothing),
            ("csv crate, a plain loop", nothing, [f"{rust}/loop", "in.csv", "loop.csv"], where, nothing),
            ("passerelle transform", nothing, [BINARY, "transform", "csv", "in.csv", "-o", "ours.csv"], where, nothing),
            ("passerelle, Windows-1252", nothing, [BINARY, "transform", "csv1252", "in1252.csv", "-o", "ours1252.csv"], where, nothing),
        ],
    )
    same_csv(f"{where}/ours.csv", f"{where}/duckdb.csv")()
    same_csv(f"{where}/ours.csv", f"{where}/loop.csv")()
    assert open(f"{where}/ours.csv", "rb").read() == open(f"{where}/ours1252.csv", "rb").read()
    table(
        "CSV → NDJSON, the same",
        "rows",
        common.args.rows,
        [
            (f"DuckDB {version}", nothing, [python, "duck.py", "ndjson"], where, lines("duckdb.ndjson")),
            ("passerelle transform", nothing, [BINARY, "transform", "ndjson", "in.csv", "-o", "ours.ndjson"], where, lines("ours.ndjson")),
            ("passerelle, Windows-1252", nothing, [BINARY, "transform", "ndjson1252", "in1252.csv", "-o", "ours1252.ndjson"], where, lines("ours1252.ndjson")),
        ],
    )
    a, b = (sum(1 for _ in open(f"{where}/{n}", "rb")) for n in ("ours.ndjson", "duckdb.ndjson"))
    assert a == b, f"{a} and {b} records"


# The same records in other formats; each route does as little as a route can: three targets, one of them computed.
FORMATS = """
[routes.{name}.source]
path = "{name}-a"
[routes.{name}.input]
{input}
[routes.{name}.map]
code = "Code"
nom = "Nom | trim | upper"
ville = "Ville"
[routes.{name}.output]
format = "{output}"
[routes.{name}.destination]
path = "{name}-b"
"""

EDI = """
[routes.edi-csv.source]
path = "edi-a"
[routes.edi-csv.input]
format = "edifact"
records = ["LIN"]
nest = { IMD = "LIN", QTY = "LIN", PRI = "LIN" }
[routes.edi-csv.map]
ligne = "e1"
article = "e3"
quantite = "QTY.e1[1]"
[routes.edi-csv.output]
format = "csv"
[routes.edi-csv.destination]
path = "edi-b"
"""

def per_core(title, where, runs):
    """MB/s of input per second of processor time, and peak memory; the counts must be the rows."""
    print(f"\n{title}")
    for name, file, route in runs:
        size = os.path.getsize(f"{where}/{file}") / 1e6
        rates, wall, memory = [], [], 0
        for _ in range(common.args.rounds):
            before = os.times()
            seconds, peak = measure([BINARY, "transform", route, file, "-o", "out"], where)
            after = os.times()
            cpu = after.children_user - before.children_user + after.children_system - before.children_system
            rates.append(size / cpu)
            wall.append(seconds)
            memory = max(memory, peak)
        print(f"  {name:<34} {statistics.median(rates):8.0f} MB/s a core  {statistics.median(wall):6.2f} s for {size:.0f} MB  peak {memory:6.0f} MiB")


def formats(where):
    rows = common.args.rows
    record = lambda i: (f"C{i:07d}", f" Société {i} & fils ", f"Ville {i % 97}", f"{i % 1000},{i % 100:02d}", f"contact{i}@c{i % 5000}.example")
    with open(f"{where}/in.xml", "w", encoding="utf-8") as x, open(f"{where}/in.ndjson", "w", encoding="utf-8") as n, open(f"{where}/in.fixed", "w", encoding="utf-8") as t, open(f"{where}/small.csv", "w", encoding="utf-8") as c:
        x.write('<?xml version="1.0" encoding="UTF-8"?>\n<clients>\n')
        c.write("Code;Nom;Ville;Solde;Email\n")
        for i in range(rows):
            code, nom, ville, solde, email = record(i)
            x.write(f"<client><Code>{code}</Code><Nom>{nom.replace('&', '&amp;')}</Nom><Ville>{ville}</Ville><Solde>{solde}</Solde><Email>{email}</Email></client>\n")
            n.write(f'{{"Code":"{code}","Nom":"{nom}","Ville":"{ville}","Solde":{i % 1000}.{i % 100:02d},"Email":"{email}"}}\n')
            t.write(f"{code:<10}{nom:<30}{ville:<20}{solde:>12}{email:<40}\n")
            c.write(f"{code};{nom};{ville};{solde};{email}\n")
        x.write("</clients>\n")
    with open(f"{where}/in.ndjson", encoding="utf-8") as n, open(f"{where}/in.json", "w", encoding="utf-8") as j:
        j.write("[\n" + ",\n".join(line.rstrip("\n") for line in n) + "\n]\n")
    with open(f"{where}/in.dbf", "wb") as d:
        widths = [("Code", 10), ("Nom", 30), ("Ville", 20), ("Solde", 12), ("Email", 40)]
        head = bytes([3, 126, 1, 1]) + struct.pack("<IHH", rows, 32 + 32 * len(widths) + 1, 1 + sum(w for _, w in widths)) + bytes(17) + b"\x03" + bytes(2)
        d.write(head + b"".join(n.encode().ljust(11, b"\0") + b"C" + bytes(4) + bytes([w]) + bytes(15) for n, w in widths) + b"\r")
        for i in range(rows):
            d.write(b" " + b"".join(v.encode("cp1252").ljust(w) for v, (_, w) in zip(record(i), widths)))
    with open(f"{where}/in.edi", "w", encoding="utf-8") as e:
        e.write("UNA:+.? 'UNB+UNOC:3+A+B+250101:1200+1'UNH+1+ORDERS:D:96A:UN'BGM+220+1+9'")
        for i in range(rows // 4):
            e.write(f"LIN+{i}++{i:013d}:EN'IMD+F++:::Article {i}'QTY+21:{i % 50}'PRI+AAA:{i % 1000}.50'")
        e.write("UNS+S'UNT+9+1'UNZ+1+1'")
    fields = 'columns = [{ name = "Code", width = 10 }, { name = "Nom", width = 30 }, { name = "Ville", width = 20 }, { name = "Solde", width = 12 }, { name = "Email", width = 40 }]'
    routes = {"xml-csv": ('format = "xml"', "csv"), "ndjson-csv": ('format = "ndjson"', "csv"), "fixed-csv": (f'format = "fixed"\n{fields}', "csv"), "csv-xml": ('format = "csv"\ndelimiter = ";"', "xml"), "csv-xlsx": ('format = "csv"\ndelimiter = ";"', "xlsx"), "xlsx-csv": ('format = "xlsx"', "csv"), "json-csv": ('format = "json"', "csv"), "dbf-csv": ('format = "dbf"', "csv"), "csv-fixed": ('format = "csv"\ndelimiter = ";"', f'fixed"\n{fields}\nencoding = "utf-8'), "csv-template": ('format = "csv"\ndelimiter = ";"', 'template"\nfile = "b.j2"\nencoding = "utf-8')}
    with open(f"{where}/passerelle.toml", "w") as f:
        f.write('max_memory = "4GiB"\n')
        text = "".join(FORMATS.format(name=n, input=i, output=o) for n, (i, o) in routes.items())
        # The workbook that is made here has B's names.
        head, tail = text.split("[routes.xlsx-csv.map]")
        xlsx, rest = tail.split("[routes.json-csv.source]")
        f.write(head + "[routes.xlsx-csv.map]" + xlsx.replace('"Code"', '"code"').replace('"Nom ', '"nom ').replace('"Ville"', '"ville"') + "[routes.json-csv.source]" + rest.replace('name = "Code"', 'name = "code"').replace('name = "Nom"', 'name = "nom"').replace('name = "Ville"', 'name = "ville"'))
        f.write(EDI)
    with open(f"{where}/b.j2", "w") as f:
        f.write("{% for r in records %}{{ r.code }};{{ r.nom }}\n{% endfor %}{{ records | length }}\n")
    per_core(f"Formats, {rows:,} records of 5 fields, 3 mapped", where, [("XML → CSV", "in.xml", "xml-csv"), ("NDJSON → CSV", "in.ndjson", "ndjson-csv"), ("fixed → CSV", "in.fixed", "fixed-csv"), ("CSV → XML", "small.csv", "csv-xml"), ("JSON → CSV", "in.json", "json-csv"), ("DBF → CSV", "in.dbf", "dbf-csv"), ("EDIFACT → CSV, 4 segments a record", "in.edi", "edi-csv"), ("CSV → fixed", "small.csv", "csv-fixed"), ("CSV → template", "small.csv", "csv-template")])
    subprocess.check_call(f"head -200001 small.csv > part.csv && {BINARY} transform csv-xlsx part.csv -o in.xlsx 2>/dev/null", cwd=where, shell=True)
    table("XLSX → CSV, 200,000 rows of 3 cells", "rows", 200_000, [("calamine alone, cells not used", nothing, [f"{rust_peers()}/calamine", "in.xlsx"], where, nothing), ("passerelle transform", nothing, [BINARY, "transform", "xlsx-csv", "in.xlsx", "-o", "out"], where, nothing)])


EXPRESSION = """
[routes.x.source]
path = "a"
[routes.x.input]
format = "csv"
types = { q = "decimal", p = "decimal" }
[routes.x.map]
id = "id"
total = "q * p + 1"
size = "'large' if q > 50 else 'small'"
code = "ref | regex_replace('[0-9]+', '#')"
[routes.x.output]
format = "csv"
[routes.x.destination]
path = "b"
"""


def expression(where):
    """Arithmetic, a condition and a regular expression, beside Miller and xan where they are installed."""
    with open(f"{where}/passerelle.toml", "w") as f:
        f.write(EXPRESSION)
    with open(f"{where}/x.csv", "w") as f:
        f.write("id,q,p,ref,label\n")
        for i in range(common.args.rows):
            f.write(f"{i},{i % 100},{i % 1000}.{i % 10}5,AB{i}-C{i % 7},some label {i % 50}\n")
    runs = [("passerelle transform", nothing, [BINARY, "transform", "x", "x.csv", "-o", "ours.csv"], where, nothing)]
    if shutil.which("mlr"):
        put = '$total = $q * $p + 1; $size = $q > 50 ? "large" : "small"; $code = gsub($ref, "[0-9]+", "#")'
        runs.append(("Miller put", nothing, ["sh", "-c", f"mlr --icsv --ocsv put '{put}' then cut -o -f id,total,size,code x.csv > mlr.csv"], where, nothing))
    else:
        print("\nMiller is not installed: apt install miller")
    if shutil.which("xan"):
        select = 'id, q * p + 1 as total, if(q > 50, "large", "small") as size, replace(ref, /[0-9]+/, "#") as code'
        runs.append(("xan select", nothing, ["sh", "-c", f"xan select -e '{select}' x.csv > xan.csv"], where, nothing))
    else:
        print("xan is not installed: cargo install xan")
    table(f"An expression with arithmetic, a condition and a regex, {common.args.rows:,} rows", "rows", common.args.rows, runs)
    if shutil.which("mlr"):
        with open(f"{where}/ours.csv") as a, open(f"{where}/mlr.csv") as b:
            for left, right in zip(csv.reader(a), csv.reader(b), strict=True):
                assert left[2:] == right[2:] and (left[1] == right[1] or abs(float(left[1]) - float(right[1])) < 1e-6), f"{left} {right}"
