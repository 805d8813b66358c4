//! Numbers with a point, as Python writes them.

/// A finite number as Python's `repr` has it: the fewest digits that mean it, with an exponent below 1e-4 and from 1e16 on.
pub(super) fn float(value: f64) -> String {
    let scientific = fewest_digits(value);
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    let digits = mantissa.replace('.', "");
    let whole = usize::try_from(exponent + 1).unwrap_or(0);
    if whole == 0 {
        let zeros = "0".repeat(exponent.unsigned_abs() as usize - 1);
        return format!("{sign}0.{zeros}{digits}");
    }
    let digits = format!("{digits:0<whole$}");
    let (whole, rest) = digits.split_at(whole);
    let rest = if rest.is_empty() { "0" } else { rest };
    format!("{sign}{whole}.{rest}")
}

/// The fewest digits that mean a number, as `1.5e3`. Where two are as near, Python takes the even one, and the standard library
/// does not: 1952153107680.03125 is …0312 there.
fn fewest_digits(value: f64) -> String {
    let shortest = format!("{value:e}");
    let digits = shortest.split('e').next().unwrap_or_default();
    let behind = digits.split_once('.').map_or(0, |(_, it)| it.len());
    // So many digits exactly, and halves to the even one.
    let even = format!("{value:.behind$e}");
    match even.parse::<f64>() {
        Ok(same) if same == value => even,
        _ => shortest,
    }
}
