//! The table of buffers: `id,lower,upper,size`, columns in any order.

use std::collections::HashMap;

use freeboard_packing::Buffer;
use freeboard_units::Bytes;

const COLUMNS: [&str; 4] = ["id", "lower", "upper", "size"];

/// Reads ids and buffers; an error names line and column, and the remedy.
pub(crate) fn parse(text: &str) -> Result<(Vec<String>, Vec<Buffer>), String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    let header = lines.next().ok_or("line 1: the file is empty; begin with id,lower,upper,size")?;
    let places = places(header)?;
    let columns = header.1.split(',').count();
    let (mut ids, mut buffers) = (Vec::new(), Vec::new());
    let mut seen = HashMap::new();
    let mut sum = 0_u64;
    for (line, row) in lines {
        let fields: Vec<&str> = row.split(',').map(str::trim).collect();
        if fields.len() > columns {
            return Err(format!(
                "line {line}: it has more fields than the first line; an id must not contain commas"
            ));
        }
        let field = |column: usize| {
            fields.get(places[column]).copied().filter(|field| !field.is_empty()).ok_or_else(|| {
                format!("line {line}, column {}: it is missing; add it", COLUMNS[column])
            })
        };
        let number = |column: usize| {
            let field = field(column)?;
            field.parse::<u64>().map_err(|_| {
                let column = COLUMNS[column];
                format!(
                    "line {line}, column {column}: '{field}' must be a whole number from 0 to \
                     18446744073709551615, without a unit"
                )
            })
        };
        let id = field(0)?;
        if let Some(first) = seen.insert(id, line) {
            return Err(format!(
                "line {line}, column id: '{id}' stands on line {first}, too; give every buffer an \
                 id of its own"
            ));
        }
        let (lower, upper, size) = (number(1)?, number(2)?, number(3)?);
        if upper <= lower {
            return Err(format!(
                "line {line}, column upper: {upper} must be greater than lower, {lower}; the \
                 buffer lives from lower up to, not including, upper"
            ));
        }
        if size == 0 {
            return Err(format!(
                "line {line}, column size: 0 bytes need no address; leave the buffer out"
            ));
        }
        sum = sum.checked_add(size).ok_or_else(|| {
            format!(
                "line {line}, column size: with {size} the sizes add up to 2^64 bytes or more; \
                 write them in bytes"
            )
        })?;
        ids.push(id.to_owned());
        buffers.push(Buffer { lifetime: lower..upper, size: Bytes::new(size) });
    }
    Ok((ids, buffers))
}

/// Where the columns stand.
fn places((line, header): (usize, &str)) -> Result<[usize; 4], String> {
    let names: Vec<String> = header.split(',').map(|name| name.trim().to_lowercase()).collect();
    let mut places = [0; 4];
    for (place, column) in places.iter_mut().zip(COLUMNS) {
        let mut found = (0..).zip(&names).filter(|&(_, name)| name == column);
        *place = match (found.next(), found.next()) {
            (Some((place, _)), None) => place,
            (None, _) => {
                return Err(format!(
                    "line {line}: there is no column {column}; the first line must name \
                     id,lower,upper,size, in any order"
                ));
            }
            _ => {
                return Err(format!("line {line}: column {column} stands there twice; keep one"));
            }
        };
    }
    Ok(places)
}
