//! How far what gives B's values in the records that both samples hold is believed.

use std::collections::BTreeSet;

use super::mapping::{EXACT, Found, Match, Search, Tried};
use super::profile::Kind;

impl Search<'_> {
    /// How far what was found is believed.
    pub(super) fn believed(&self, target: usize, best: &Tried, tried: &[Tried]) -> Match {
        let b = &self.b.columns[target];
        let shown: BTreeSet<&str> = (0..self.pairs.len()).filter(|p| best.right[*p]).map(|p| self.wanted(target, p)).filter(|t| !t.is_empty()).collect();
        let count = (0..self.pairs.len()).filter(|p| best.right[*p] && !self.wanted(target, *p).is_empty()).count();
        let likeness = self.likeness(&best.candidate, target);
        let exact = best.share >= EXACT;
        // Each further value that fits halves the doubt; a name that fits takes most of the rest.
        let doubt = 0.5f64.powi(shown.len().min(8) as i32) * if best.candidate.sources.len() > 1 || best.candidate.cost > 6 { 1.5 } else { 1.0 };
        let mut confidence = (1.0 - doubt * (1.0 - likeness * 0.6)).min(0.99);
        let own: BTreeSet<usize> = best.candidate.sources.iter().copied().collect();
        let rivals: Vec<&Tried> = tried
            .iter()
            .filter(|t| t.share >= best.share - 0.005 && t.candidate.sources.iter().any(|s| !own.contains(s)) && t.candidate.cost <= best.candidate.cost + 2)
            .collect();
        let mut others: Vec<String> = Vec::new();
        for rival in &rivals {
            let name = rival.candidate.sources.iter().map(|s| self.a.columns[*s].name.as_str()).collect::<Vec<_>>().join(", ");
            if !others.contains(&name) {
                others.push(name);
            }
        }
        let nearest = rivals.iter().map(|t| self.likeness(&t.candidate, target)).fold(0.0, f64::max);
        if !rivals.is_empty() {
            confidence = if likeness >= nearest + 0.25 { confidence.min(0.88) } else { confidence.min(0.55) };
        }
        let wrong = (0..self.pairs.len()).find(|p| !best.right[*p] && !self.wanted(target, *p).is_empty());
        if !exact {
            confidence = (best.share * 0.75).min(0.58);
        } else if wrong.is_some() {
            confidence = confidence.min(0.85);
        }
        // What stands between the parts is the same in the sample, and may be another tomorrow.
        if best.candidate.expr.contains(" ~ ") {
            confidence = confidence.min(0.88);
        }
        // A few values do not tell where a text is cut: at its first sign, or where the sample's longest one ends.
        let cut = best.candidate.expr.contains("split(") || best.candidate.expr.contains("[:") || best.candidate.expr.contains(":]");
        if cut && shown.len() < 20 {
            confidence = confidence.min(0.85);
        }
        // Where values are not all as long, a place in them is chance, unless many records bear it out.
        let varies = own.iter().any(|s| self.a.columns[*s].lengths.0 != self.a.columns[*s].lengths.1);
        let placed = best.candidate.does.starts_with("its characters") || best.candidate.does == "its end";
        if placed && varies && shown.len() < 100 {
            confidence = confidence.min(0.8);
        }
        // Of an amount that is always negative, what becomes of a positive one is not known.
        let negative =
            |s: &usize| (0..self.pairs.len()).map(|p| self.given(*s, p).trim()).all(|t| t.is_empty() || t.starts_with(['-', '(']) || t.ends_with('-'));
        if best.candidate.does.starts_with("without its sign") && own.iter().all(negative) {
            confidence = confidence.min(0.85);
        }
        // The first letters of a name are its code by chance.
        let code = b.kind == Kind::Text && b.lengths.1 <= 3 && best.candidate.does.starts_with("cut");
        if code && own.iter().any(|s| self.a.columns[*s].lengths.1 > 3) {
            confidence = confidence.min(0.58);
        }
        let longer = |s: &usize| self.a.columns[*s].lengths.1 > b.lengths.1;
        if exact && b.kind == Kind::Text && best.candidate.cost == 0 && own.iter().any(longer) && shown.len() < 20 {
            confidence = confidence.min(0.88);
        }
        // Where most of B's records were not found, those that were may be of one kind.
        if (self.shared as f64) < self.b.rows.len() as f64 * 0.7 {
            confidence = confidence.min(0.75);
        }
        let mut expression = best.candidate.expr.clone();
        if b.typed && !best.candidate.typed {
            expression = match b.kind {
                Kind::Integer | Kind::Decimal if !expression.contains(" if ") => {
                    let plain = expression.trim_end_matches(" | trim");
                    format!("{} | decimal", if plain.contains(" ~ ") { format!("({plain})") } else { plain.to_owned() })
                }
                Kind::Bool if [" if ", " ~ "].iter().any(|operator| expression.contains(operator)) => format!("({expression}) | bool"),
                Kind::Bool => format!("{expression} | bool"),
                _ => expression,
            };
        }
        let sources = best.candidate.sources.iter().map(|s| self.a.columns[*s].name.as_str()).collect::<Vec<_>>().join(", ");
        let filled = (0..self.pairs.len()).filter(|p| !self.wanted(target, *p).is_empty()).count();
        let share =
            if wrong.is_none() { format!("all {count} records that were compared") } else { format!("{count} of the {filled} records that were compared") };
        let of = if sources.is_empty() { String::new() } else { format!("{sources}, ") };
        let mut reason = format!("{of}{}: gives B's value in {share}", best.candidate.does);
        if !others.is_empty() {
            others.truncate(3);
            reason.push_str(&format!("; so would {}", others.join(", ")));
        }
        Match { target, expression, confidence, reason, sources: best.candidate.sources.clone(), table: None, others, found: Found::Source }
    }
}
