//! A route's records: formats, mapping, expressions and rules, resolved and checked together.

use super::parts::{declared_names, find, reading, style, within};
use super::{Builder, schema};
use crate::config::DestinationConfig;
use crate::config::raw::percent;
use crate::formats::packed::Packing;
use crate::formats::text::{Encoder, Type};
use crate::formats::{self, Format, Room};
use crate::options::{Entry, Options, Side, Val};
use crate::record::Columns;
use crate::transform::group::Grouping;
use crate::transform::plan::{Mapping, Place, Rule};
use crate::transform::{Limit, Transformation};

impl Builder<'_> {
    pub(super) fn transformation(&mut self, route: &str, o: &Options) -> Option<Transformation> {
        let input = o.table("input");
        let input_name = input.and_then(|i| i.entry("format")).map_or("raw", |f| f.as_text()).to_owned();
        if input_name == "raw" {
            self.raw_has_no_records(route, o);
            let output = o.table("output").and_then(|t| t.entry("format")).map_or("raw", |f| f.as_text());
            if output != "raw" {
                self.mistake(o.table("output").map_or(0..0, |t| t.span_of("format")), "raw bytes can't be written as records", "declare input.format", None);
            }
            return None;
        }
        let output = o.table("output");
        let Some(input_format) = formats::named(&input_name) else {
            // The format itself is told already; the expressions can be checked all the same.
            let (none, input) = (Options::default(), input.cloned().unwrap_or_default());
            let mapping = self.mapping(o, &input, output.unwrap_or(&none));
            self.expressions(o, &input, None, &mapping);
            return None;
        };
        let output_name = output.and_then(|t| t.entry("format")).map_or(input_name.as_str(), |f| f.as_text());
        if output_name == "raw" {
            self.mistake(output.map_or(0..0, |t| t.span_of("format")), "records can't be written raw", "name a format, or make the input raw too", None);
            return None;
        }
        let input_options = input.cloned().unwrap_or_default();
        let input_group = self.grouping(&input_options);
        for (key, why) in input_format.mistakes(&input_options, Side::Input) {
            self.mistake(input_options.span_of(key), format!("input.{key}: {why}"), "", None);
        }
        let output_format = formats::named(output_name)?;
        if !input_format.reads() {
            self.mistake(o.table("input").map_or(0..0, |t| t.span_of("format")), format!("{input_name} is written, not read"), "no input format", None);
        }
        // `output` without a format has the input's keys and defaults.
        let (entries, span) = output.map_or((Vec::new(), 0..0), |o| (o.entries().to_vec(), o.span.clone()));
        let output_options = Options::new(entries, span, vec![output_format.output_options(), schema::OUTPUT]);
        let output_options = self.with_template(output_options, output_format);
        self.details(o, &input_options, &output_options, output_format.has_columns());
        let output_group = self.grouping(&output_options);
        if output_format.writes() {
            for (key, why) in output_format.mistakes(&output_options, Side::Output) {
                self.mistake(output_options.span_of(key), format!("output.{key}: {why}"), "", None);
            }
        } else {
            let span = output.map_or_else(|| input_options.span_of("format"), |t| t.span_of("format"));
            let hint = Some("as in [routes.….output] format = \"csv\"".into());
            self.mistake(span, format!("{output_name} is read, not written"), "choose an output format", hint);
        }
        if output_group.is_some() && output_format.has_columns() {
            let message = format!("`group_by` makes lists, which {output_name} has no place for");
            self.mistake(output_options.span_of("group_by"), message, "json, ndjson, xml or template", None);
        }
        for (name, entry) in o.map("map") {
            if let Some(why) = output_format.target(name) {
                self.mistake(entry.key_span.clone(), format!("map.{name}: {why}"), "letters, digits, - and _", None);
            }
        }
        let mapping = self.mapping(o, &input_options, &output_options);
        self.expressions(o, &input_options, Some(input_format), &mapping);
        self.known_targets(&output_options, &mapping);
        let encoder = Encoder::named(&output_options.word("encoding"), output_options.word("encoding_errors") == "replace")?;
        Some(Transformation {
            input: input_format,
            sends_empty: o.table("source").is_some_and(|s| s.word("empty") == "send"),
            reading: reading(&input_options),
            output: output_format,
            style: style(&output_options),
            encoder,
            rejects_fail: o.word("rejects") == "fail",
            max_rejects: o.text("max_rejects").and_then(|t| t.parse().ok().map(Limit::Number).or_else(|| percent(&t).map(Limit::Percent))),
            max_memory: self.max_memory,
            input_group,
            order_by: order_by(&output_options, &mapping),
            output_group,
            split: output_options.count("split"),
            packing: Packing::named(&output_options.word("compress")),
            mapping,
            input_options,
            output_options,
        })
    }

    /// What a destination demands that takes each record by itself; what is made for it has one record a line.
    pub(super) fn by_record(&mut self, o: &Options, destinations: &[DestinationConfig], transformation: Option<&mut Transformation>) {
        let span = o.table("destination").map_or(o.span.clone(), |d| d.span.clone());
        let output = o.table("output").map_or(o.span.clone(), |t| t.span.clone());
        let records = "publish = \"records\"";
        if destinations.len() > 1 {
            self.mistake(
                span,
                format!("a destination with {records} stands alone: what it refuses is not what another one has"),
                "one destination",
                Some("give the other one a route of its own, from the same source with on_success = \"keep\"".into()),
            );
        } else if destinations.iter().any(|d| d.confirm.is_some() || d.done_file.is_some()) {
            self.mistake(span, format!("`confirm` and `done_file` are about files; with {records} none is sent"), "no file", None);
        }
        let Some(t) = transformation else {
            return self.mistake(
                output,
                format!("{records} needs records, and raw bytes are none"),
                "declare input.format and output.format = \"ndjson\"",
                None,
            );
        };
        let json = matches!(t.output.name(), "json" | "ndjson");
        if !json {
            self.mistake(output, format!("{records} sends JSON, not {}", t.output.name()), "expected output.format = \"ndjson\"", None);
        } else if t.output_group.is_some() {
            let hint = Some("group A's rows on the input: input.group_by and input.group_into".into());
            self.mistake(
                output,
                format!("output.group_by can't be used with {records}: what B refuses could not be told of A's rows"),
                "group on the input",
                hint,
            );
        } else if t.split.is_some() || t.packing.is_some() || !t.output_options.word("wrap").is_empty() {
            self.mistake(output, format!("split, compress and wrap are about files; with {records} none is sent"), "no file", None);
        }
        t.output = if json { &formats::json::Ndjson } else { t.output };
    }

    /// Targets that `order_by` and `group_by` name must be there, as far as they are known without a file.
    fn known_targets(&mut self, output: &Options, mapping: &Mapping) {
        let map = mapping.map.as_ref().map(|m| m.iter().map(|(n, _)| n.clone()).collect::<Vec<_>>());
        let Some(targets) = mapping.columns.clone().or(map) else { return };
        let named = order_by(output, mapping).into_iter().map(|(n, _)| ("order_by", n));
        let grouped = output.texts("group_by").unwrap_or_default().into_iter().map(|n| ("group_by", n));
        for (key, name) in named.chain(grouped).filter(|(_, n)| !targets.contains(n)) {
            let hint = crate::options::nearest(&name, targets.iter().map(String::as_str))
                .map_or_else(|| format!("the targets are {}", targets.join(", ")), |n| format!("did you mean {n}?"));
            self.mistake(output.span_of(key), format!("output.{key}: there is no target {name}"), hint, None);
        }
    }

    /// With the text of a template, so that what is wrong with it is told now, and a run needs no other file.
    fn with_template(&mut self, output: Options, format: &'static dyn formats::Format) -> Options {
        let Some(file) = output.text("file").filter(|_| format.name() == "template") else { return output };
        let path = self.base.join(&file);
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let entry = |text: String| Entry { value: Val::Text(text), span: output.span_of("file"), key_span: output.span_of("file"), secret: false };
                let filters = crate::transform::template_filters().into_iter().map(|n| format!("filter {n}\n"));
                let names = filters.chain(crate::transform::template_tests().into_iter().map(|n| format!("test {n}\n"))).collect();
                let ours = [(formats::TEMPLATE_TEXT.to_owned(), entry(text)), (formats::TEMPLATE_NAMES.to_owned(), entry(names))];
                let entries = output.entries().iter().cloned().chain(ours).collect();
                Options::new(entries, output.span.clone(), vec![format.output_options(), schema::OUTPUT])
            }
            Err(e) => {
                self.mistake(output.span_of("file"), format!("`file`: can't read {}: {}", path.display(), crate::error::reason(&e)), "no template", None);
                output
            }
        }
    }

    fn grouping(&mut self, o: &Options) -> Option<Grouping> {
        match (o.texts("group_by"), o.text("group_into")) {
            (Some(by), Some(into)) => Some(Grouping { by, into }),
            (None, None) => None,
            (Some(_), None) => {
                self.mistake(o.span_of("group_by"), "`group_by` needs `group_into`, the name of the list", "as in group_into = \"lignes\"", None);
                None
            }
            (None, Some(_)) => {
                self.mistake(o.span_of("group_into"), "`group_into` needs `group_by`, the columns that are equal", "as in group_by = [\"numero\"]", None);
                None
            }
        }
    }

    /// B's columns: as declared, as a file's header has them, or none.
    fn output_columns(&mut self, o: &Options) -> Option<Vec<String>> {
        if let Some(Val::List(items)) = o.entry("columns").map(|e| &e.value)
            && items.iter().any(|e| matches!(e.value, Val::Table(_)))
        {
            return Some(o.tables("columns").iter().filter_map(|t| t.text("name")).collect());
        }
        let Some(file) = o.text("columns_from") else { return o.texts("columns") };
        if o.has("columns") {
            self.mistake(o.span_of("columns_from"), "`columns` and `columns_from` exclude each other", "one of the two", None);
        }
        let path = self.base.join(&file);
        // The header is written as B's files are: with B's delimiter and encoding.
        let keys = ["delimiter", "quote", "encoding"].into_iter().filter_map(|k| Some((k.to_owned(), o.entry(k)?.clone()))).collect();
        let options = Options::new(keys, 0..0, vec![formats::csv::Csv.input_options(), schema::INPUT]);
        let room = Room::new(self.max_memory, &std::env::temp_dir());
        let header = std::fs::File::open(&path)
            .map_err(|e| format!("can't read {}: {}", path.display(), crate::error::reason(&e)))
            .and_then(|f| formats::csv::Csv.reader(&options, Box::new(f), &room).map_err(|e| e.message().to_owned()));
        match header {
            Ok(reader) => Some(reader.columns().names.clone()),
            Err(why) => {
                self.mistake(o.span_of("columns_from"), format!("`columns_from`: {why}"), "B's header is not there", None);
                None
            }
        }
    }

    /// Raw bytes go untouched: whatever is about records is a mistake there, and not passed over.
    fn raw_has_no_records(&mut self, route: &str, o: &Options) {
        let of_route = ["let", "check", "map", "where", "rejects", "max_rejects"].into_iter().filter_map(|key| Some((key.to_owned(), o.entry(key)?)));
        let within = |table: &'static str, known: &'static [&'static str]| {
            let entries = o.table(table).map_or(&[][..], Options::entries).iter().filter(|(key, _)| !known.contains(&key.as_str()));
            entries.map(move |(key, entry)| (format!("{table}.{key}"), entry))
        };
        let first = of_route.chain(within("input", &["format"])).chain(within("output", &["format", "name"])).next();
        if let Some((key, entry)) = first {
            self.mistake(
                entry.key_span.clone(),
                format!("`{key}` needs records, and the input of `{route}` is raw"),
                "declare how A writes",
                Some("as in [routes.….input] format = \"csv\"".into()),
            );
        }
    }

    /// What only makes sense together: signs that exclude each other, names that stand twice, pointers, templates.
    fn details(&mut self, o: &Options, input: &Options, output: &Options, flat: bool) {
        if input.char("thousands").is_some() && input.char("thousands") == input.char("decimal") {
            self.mistake(input.span_of("thousands"), "`thousands` and `decimal` are the same sign", "expected another sign", None);
        }
        for (options, side) in [(input, "input"), (output, "output")] {
            for key in ["delimiter", "quote", "decimal", "thousands"] {
                let Some(sign) = options.char(key).filter(|_| options.has(key)) else { continue };
                let wrong = match key {
                    "decimal" | "thousands" if sign.is_ascii_digit() || matches!(sign, '-' | '+') => "a number has that sign itself",
                    "delimiter" if options.char("quote") == Some(sign) => "it is the quote too",
                    "delimiter" | "quote" if matches!(sign, '\n' | '\r') => "it ends a line",
                    _ => continue,
                };
                self.mistake(options.span_of(key), format!("`{side}.{key}` can't be {sign:?}: {wrong}"), "expected another sign", None);
            }
        }
        if output.text("line_ending").is_some_and(|e| !matches!(e.as_str(), "\n" | "\r\n")) {
            self.mistake(output.span_of("line_ending"), "`output.line_ending` ends no line", "expected \"\\n\" or \"\\r\\n\"", None);
        }
        let bools = reading(input).bools;
        if let Some(both) = bools.0.iter().find(|t| bools.1.contains(t)) {
            self.mistake(input.span_of("bools"), format!("`bools`: {both:?} stands for true and for false"), "each text for one of them", None);
        }
        for (options, key) in [(input, "records"), (output, "wrap")] {
            if matches!(options.text("format").as_deref(), None | Some("json")) && options.text(key).is_some_and(|p| !p.is_empty() && !p.starts_with('/')) {
                self.mistake(options.span_of(key), format!("`{key}` is a JSON Pointer, which begins with /"), "expected a pointer as in \"/data/rows\"", None);
            }
        }
        for key in ["dates", "datetimes"] {
            if input.text(key).is_some_and(|p| formats::text::pattern_mistake(&p).is_none() && !formats::text::reads_a_day(&p)) {
                let message = format!("`input.{key}` reads no date: it has not all of day, month and year");
                self.mistake(input.span_of(key), message, "a pattern as in \"%d/%m/%Y\"", None);
            }
        }
        for key in ["dates", "datetimes"].into_iter().filter(|key| output.text(key).as_deref() == Some(formats::text::SERIAL)) {
            self.mistake(output.span_of(key), format!("`output.{key}` is no pattern: \"excel\" is a way of reading"), "a pattern as in \"%d/%m/%Y\"", None);
        }
        let columns = if output.tables("columns").is_empty() { output.texts("columns").unwrap_or_default() } else { Vec::new() };
        if let Some((_, twice)) = columns.iter().enumerate().find(|(i, c)| columns[..*i].contains(c)) {
            self.mistake(output.span_of("columns"), format!("`columns` names {twice} twice"), "each column once", None);
        }
        let targets: Vec<&String> = o.map("map").iter().map(|(n, _)| n).collect();
        for (name, entry) in o.map("map").iter().filter(|_| !flat) {
            if targets.iter().any(|t| t.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('.'))) {
                self.mistake(entry.key_span.clone(), format!("the target {name} is a value and holds others, which nest in it"), "can't be both", None);
            }
        }
        if output.text("name").is_some_and(|n| n.contains('/')) {
            self.mistake(
                output.span_of("name"),
                "`name` is a name, not a path: it may hold no slash",
                "",
                Some("the folder is the destination's `path`".into()),
            );
        }
    }

    fn mapping(&mut self, o: &Options, input: &Options, output: &Options) -> Mapping {
        let expressions = |key: &str| o.map(key).iter().map(|(n, e)| (n.clone(), e.as_text().to_owned())).collect::<Vec<_>>();
        let mut rules = Vec::new();
        for (name, entry) in output.map("fields") {
            let Val::Table(rule) = &entry.value else { continue };
            let pattern = rule.text("pattern").and_then(|p| match regex::Regex::new(&p) {
                Ok(r) => Some(r),
                Err(e) => {
                    self.mistake(
                        rule.span_of("pattern"),
                        format!("`pattern` is no regular expression: {}", crate::transform::compile::last_line(&e.to_string())),
                        "",
                        None,
                    );
                    None
                }
            });
            rules.push((
                name.clone(),
                Rule {
                    required: rule.flag("required"),
                    max_length: rule.count("max_length"),
                    unique: rule.flag("unique"),
                    grouped: output.texts("group_by").unwrap_or_default().contains(name),
                    pattern,
                    one_of: rule.texts("one_of"),
                },
            ));
        }
        Mapping {
            lets: expressions("let"),
            condition: o.text("where"),
            checks: expressions("check"),
            map: o.has("map").then(|| expressions("map")),
            types: input.map("types").iter().filter_map(|(n, e)| Type::named(e.as_text()).map(|t| (n.clone(), t))).collect(),
            columns: self.output_columns(output),
            each: input.text("each"),
            list: input.text("group_into"),
            rules,
            lookups: self.lookup_names.clone(),
            key: o.table("sync").map(|s| s.texts("key").unwrap_or_default()),
        }
    }

    /// Parses and checks every expression; each mistake is shown under the place in its text.
    fn expressions(&mut self, o: &Options, input: &Options, format: Option<&'static dyn formats::Format>, mapping: &Mapping) {
        let mut columns = format.and_then(|f| f.declared(input));
        if let Some(into) = input.text("group_into") {
            columns = columns.map(|c| match c.closed() {
                true => Columns::tree(c.names.into_iter().chain([into]).collect()),
                false => c,
            });
        }
        for (name, entry) in o.map("let").iter().filter(|(name, _)| crate::transform::expr::RESERVED.contains(&name.as_str())) {
            self.mistake(entry.key_span.clone(), format!("`{name}` is the relay's own name: an expression would never see this one"), "choose another", None);
        }
        for (place, m) in crate::transform::check(mapping, columns.as_ref()) {
            let entry = match &place {
                Place::Let(n) => find(o.map("let"), n),
                Place::Where => o.entry("where"),
                Place::Each => input.entry("each"),
                Place::Key(_) => o.table("sync").and_then(|s| s.entry("key")),
                Place::Check(n) => find(o.map("check"), n),
                Place::Map(n) => find(o.map("map"), n),
                Place::Types(n) => find(input.map("types"), n),
                Place::Columns(_) => o.table("output").and_then(|t| t.entry("columns")),
                Place::Fields(n) => o.table("output").and_then(|t| find(t.map("fields"), n)),
            };
            let whole = entry.map_or(0..0, |e| if matches!(place, Place::Types(_) | Place::Fields(_)) { e.key_span.clone() } else { e.span.clone() });
            let exact = entry.filter(|_| !m.span.is_empty()).and_then(|e| within(&self.doc.text, e, &m.span));
            self.mistake(exact.unwrap_or(whole), format!("{place}: {}", m.message), m.hint.clone().unwrap_or_default(), None);
        }
        let mut columns = declared_names(input);
        columns.extend(input.map("types").iter().map(|(name, _)| name.clone()).filter(|name| !declared_names(input).contains(name)));
        for name in &columns {
            if crate::transform::expr::RESERVED.contains(&name.as_str()) {
                self.warnings.push(format!("the column {name} has a name of the relay's: write row['{name}']"));
            }
        }
        let texts: Vec<&str> =
            o.map("map").iter().chain(o.map("let")).chain(o.map("check")).map(|(_, e)| e.as_text()).chain(o.entry("where").map(Entry::as_text)).collect();
        for fact in ["number", "line"].into_iter().filter(|f| texts.iter().any(|t| t.contains(&format!("row.{f}")))) {
            if columns.iter().any(|name| name == fact) {
                self.warnings.push(format!("row.{fact} is the record's own {fact}: write row['{fact}'] for the column {fact}"));
            }
        }
    }
}

/// The targets of `order_by`; true: largest first.
fn order_by(output: &Options, mapping: &Mapping) -> Vec<(String, bool)> {
    let is_target = |name: &str| mapping.map.as_ref().is_some_and(|m| m.iter().any(|(n, _)| n == name));
    let split = |name: String| match name.strip_prefix('-') {
        Some(bare) if !is_target(&name) => (bare.to_owned(), true),
        _ => (name, false),
    };
    output.texts("order_by").unwrap_or_default().into_iter().map(split).collect()
}
