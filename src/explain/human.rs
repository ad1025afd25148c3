//! An explanation on paper, for people.

use std::io::{self, Write};

use super::told::{Explanation, PartTold, Reaches, RouteTold, SessionTold};

/// Routes that did not hold are shown up to so many. Programs get all.
const SHOWN_ROUTES: usize = 50;
/// Bytes of a payload that are shown.
const SHOWN_PAYLOAD: usize = 300;

struct Paint {
    bold: &'static str,
    green: &'static str,
    red: &'static str,
    yellow: &'static str,
    dim: &'static str,
    off: &'static str,
}

const PLAIN: Paint = Paint { bold: "", green: "", red: "", yellow: "", dim: "", off: "" };
const COLOURED: Paint =
    Paint { bold: "\x1b[1m", green: "\x1b[32m", red: "\x1b[31m", yellow: "\x1b[33m", dim: "\x1b[2m", off: "\x1b[0m" };

impl Explanation {
    /// Writes it for people.
    pub fn render(&self, out: &mut dyn Write, colour: bool) -> io::Result<()> {
        let paint = if colour { &COLOURED } else { &PLAIN };
        self.head(out, paint)?;
        self.routes(out, paint)?;
        if !self.queries.is_empty() {
            writeln!(out, "\n{}Queries{}", paint.bold, paint.off)?;
            for query in &self.queries {
                writeln!(out, "  {}", printable(&query.says))?;
            }
        }
        if !self.log.is_empty() {
            writeln!(out, "\n{}What plugins wrote to the log{}", paint.bold, paint.off)?;
            if self.queries.iter().any(|query| !query.answered) {
                writeln!(out, "  {}an answer that was not given is no rows here{}", paint.dim, paint.off)?;
            }
            for line in &self.log {
                let at = line.line.map(|at| format!(":{at}")).unwrap_or_default();
                writeln!(out, "  {}  {}{at}  {}", line.level, line.plugin, printable(&line.text))?;
            }
        }
        writeln!(out, "\n{}Decision{}\n  {}", paint.bold, paint.off, printable(&self.decision.says))?;
        self.sessions(out, paint)?;
        writeln!(out, "\n{}Decided in {:?}.{}", paint.dim, self.took(), paint.off)
    }

    fn head(&self, out: &mut dyn Write, paint: &Paint) -> io::Result<()> {
        let event = &self.event;
        let id = event.id.as_ref().map(|id| format!(" {}", id.get())).unwrap_or_default();
        let kind = event.kind.as_ref().map(|kind| format!(", of type {kind}")).unwrap_or_default();
        let tenant = event.tenant.as_ref().map_or_else(|| "of no tenant".to_owned(), |t| format!("of tenant {t}"));
        let line = format!("Event{id} {tenant}{kind}");
        writeln!(out, "{}{}{}", paint.bold, printable(&line), paint.off)
    }

    fn routes(&self, out: &mut dyn Write, paint: &Paint) -> io::Result<()> {
        writeln!(out, "\n{}Routes, in the order in which they are tried{}", paint.bold, paint.off)?;
        let (mut failed, width) = (0, self.routes.iter().map(|route| route.name.chars().count()).max().unwrap_or(0));
        for route in &self.routes {
            failed += usize::from(!route.holds);
            if route.holds || failed <= SHOWN_ROUTES {
                one_route(route, width, out, paint)?;
            }
        }
        if failed > SHOWN_ROUTES {
            writeln!(out, "  {}and {} more that do not hold{}", paint.dim, failed - SHOWN_ROUTES, paint.off)?;
        }
        if !self.not_tried.is_empty() {
            let shown = self.not_tried.iter().take(8).map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let more = if self.not_tried.len() > 8 { ", ..." } else { "" };
            writeln!(out, "  {}not tried any more: {shown}{more}{}", paint.dim, paint.off)?;
        }
        Ok(())
    }

    fn sessions(&self, out: &mut dyn Write, paint: &Paint) -> io::Result<()> {
        writeln!(out, "\n{}Sessions{}", paint.bold, paint.off)?;
        if self.sessions.is_empty() {
            let example = r#"--session '{"user": 7, "tenant": "acme", "topics": ["deal:42"]}'"#;
            return writeln!(out, "  none was given; tell of one to see whether it gets the event:\n  {example}");
        }
        self.sessions.iter().try_for_each(|session| self.session(session, out, paint))
    }

    fn session(&self, session: &SessionTold, out: &mut dyn Write, paint: &Paint) -> io::Result<()> {
        let (mark, colour, verb) = match session.gets_it {
            Reaches::Yes => ("✓", paint.green, "gets it"),
            Reaches::No => ("✗", paint.red, "does not get it"),
            Reaches::Depends => ("?", paint.yellow, "may get it"),
        };
        let who = format!("user {} of {}", session.user, session.tenant);
        let name = if session.name == who.as_str() { who } else { format!("{} ({who})", session.name) };
        let route = session.route.as_ref().map(|route| format!(", by `{route}`")).unwrap_or_default();
        writeln!(out, "  {colour}{mark}{} {} {verb}{}", paint.off, printable(&name), printable(&route))?;
        for because in &session.because {
            writeln!(out, "      {}", printable(because))?;
        }
        if session.gets_it == Reaches::No && session.because.is_empty() {
            writeln!(out, "      nobody does")?;
        }
        if let Some(payload) = &session.payload {
            let (payload, whole) = (payload.get(), self.event.payload.get());
            if payload != whole {
                writeln!(out, "      it gets {}", shown_payload(payload))?;
            }
        }
        for note in &session.notes {
            writeln!(out, "      {}note: {}{}", paint.yellow, printable(note), paint.off)?;
        }
        Ok(())
    }
}

fn one_route(route: &RouteTold, width: usize, out: &mut dyn Write, paint: &Paint) -> io::Result<()> {
    let (mark, colour) = if route.holds { ("✓", paint.green) } else { ("✗", paint.red) };
    let margin = " ".repeat(width);
    write!(out, "  {colour}{mark}{} {:width$}  ", paint.off, printable(&route.name))?;
    if route.conditions.is_empty() {
        writeln!(out, "holds for every event")?;
    } else {
        // One that does not hold is explained by what fails; one that does by all that it asks.
        let shown = route.conditions.iter().filter(|condition| route.holds || !condition.holds);
        for (index, condition) in shown.enumerate() {
            let indent = if index == 0 { String::new() } else { format!("    {margin}  ") };
            let line = format!("{} is {}; wanted: {}", condition.field, condition.found, condition.wanted);
            writeln!(out, "{indent}{}", printable(&line))?;
        }
    }
    if let (Some(plugin), true) = (&route.plugin, route.holds) {
        writeln!(out, "    {margin}  asks the plugin {}", printable(plugin))?;
    }
    match (&route.scope, &route.says) {
        (Some(scope), _) if route.parts.len() > 1 => {
            writeln!(out, "    {margin}  → {}, any of these:", printable(scope))?;
            for (number, part) in (1..).zip(&route.parts) {
                writeln!(out, "    {margin}    {number}. {}", printable(&part.says))?;
                for line in part.remarks() {
                    writeln!(out, "    {margin}       {}", printable(&line))?;
                }
            }
        }
        (_, says) => {
            if let Some(says) = says {
                writeln!(out, "    {margin}  → {}", printable(says))?;
            }
            for line in route.parts.iter().flat_map(PartTold::remarks) {
                writeln!(out, "    {margin}    {}", printable(&line))?;
            }
        }
    }
    if route.holds && route.goes_on {
        writeln!(out, "    {margin}  and the routes after it are tried too (`continue: true`)")?;
    }
    Ok(())
}

impl PartTold {
    /// What there is to say of it beside whom it is about.
    pub(crate) fn remarks(&self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(payload) = &self.payload {
            lines.push(format!("they get {payload}"));
        }
        if !self.missing.is_empty() {
            let missing = self.missing.join(", ");
            let then = if self.names_somebody { "what needs it is left out" } else { "so this names nobody" };
            lines.push(format!("the event has no usable {missing}: {then}"));
        }
        lines
    }
}

fn shown_payload(payload: &str) -> String {
    let end = payload.floor_char_boundary(SHOWN_PAYLOAD);
    let more = if end < payload.len() { "…" } else { "" };
    format!("{}{more}", printable(&payload[..end]))
}

/// Text without control characters: what an event holds shall not steer a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}
