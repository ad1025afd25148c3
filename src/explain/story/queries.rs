//! What was asked on an event's way, and what plugins wrote to the log.

use crate::event::Scalar;
use crate::explain::answers::shown_binds;
use crate::explain::rehearsal::Asked;
use crate::explain::told::{LogTold, QueryTold};
use crate::explain::{Logged, words};
use crate::lookup::Rows;

/// Rows of an answer that are shown to people.
const SHOWN_ROWS: usize = 5;

pub(super) fn query(asked: &Asked) -> QueryTold {
    let json = |value: &Scalar| match value {
        Scalar::Null => serde_json::Value::Null,
        Scalar::Bool(value) => (*value).into(),
        Scalar::Int(value) => (*value).into(),
        Scalar::Float(value) => (*value).into(),
        Scalar::Text(text) => text.as_str().into(),
    };
    let mut binds: serde_json::Map<_, _> =
        asked.binds.iter().map(|(name, value)| (name.to_string(), json(value))).collect();
    if let Some(tenant) = &asked.tenant {
        binds.insert("tenant".to_owned(), tenant.as_str().into());
    }
    let (rows, error) = match &asked.answer {
        None => (None, None),
        Some(Err(error)) => (None, Some(error.to_string())),
        Some(Ok(rows)) => {
            let names = || rows.columns.iter().map(ToString::to_string);
            let row = |row: &[Scalar]| names().zip(row.iter().map(json)).collect();
            (Some(rows.rows.iter().map(|cells| row(cells)).collect()), None)
        }
    };
    let shown = format!("{} ({})", asked.query, shown_binds(asked.tenant.as_ref(), &asked.binds));
    let says = match &asked.answer {
        None => format!("would ask {shown}"),
        Some(Err(error)) => format!("{shown}: {error}"),
        Some(Ok(rows)) => format!("{shown}: {}", shown_rows(rows)),
    };
    QueryTold { query: asked.query.to_string(), binds, rows, error, answered: asked.answer.is_some(), says }
}

fn shown_rows(rows: &Rows) -> String {
    let row = |row: &[Scalar]| {
        let cells = rows.columns.iter().zip(row).map(|(column, value)| format!("{column} = {value}"));
        cells.collect::<Vec<_>>().join(", ")
    };
    let shown: Vec<String> = rows.rows.iter().take(SHOWN_ROWS).map(|cells| row(cells)).collect();
    let count = words::counted(rows.rows.len(), "row", "rows");
    match rows.rows.len() {
        0 => "no rows".to_owned(),
        many if many > SHOWN_ROWS => format!("{count} ({}; ...)", shown.join("; ")),
        _ => format!("{count} ({})", shown.join("; ")),
    }
}

pub(super) fn log(logged: &Logged) -> LogTold {
    LogTold {
        level: if logged.line.is_warning { "warn" } else { "info" },
        plugin: logged.plugin.to_string(),
        line: logged.line.line,
        text: logged.line.text.clone(),
    }
}
