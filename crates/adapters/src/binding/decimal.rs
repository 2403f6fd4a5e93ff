//! Decimal numbers as text (the grammar of RFC 8259, section 6), moved by powers of ten without a float.

/// Exponents and shifts beyond this are refused: they would only make zeroes.
const MAX_EXPONENT: i64 = 64;
/// The longest number that is read.
const MAX_DIGITS: usize = 64;

/// `written` times ten to the power of `scale`. Without a scale, a number comes back exactly as it was written; `Err`
/// says what was expected.
pub(super) fn shift(written: &str, scale: i8) -> Result<String, String> {
    let expected = || "a decimal number".to_owned();
    let (sign, digits) = written.strip_prefix('-').map_or(("", written), |rest| ("-", rest));
    let (mantissa, exponent) = digits.split_once(['e', 'E']).unwrap_or((digits, "0"));
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((_, "")) => return Err(expected()),
        Some(parts) => parts,
        None => (mantissa, ""),
    };
    let all_digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if whole.is_empty() || leading_zero || !all_digits(whole) || !all_digits(fraction) {
        return Err(expected());
    }
    let exponent_digits = exponent.trim_start_matches(['+', '-']);
    if exponent_digits.is_empty()
        || exponent.len() - exponent_digits.len() > 1
        || !all_digits(exponent_digits)
    {
        return Err(expected());
    }
    let exponent: i64 = exponent.parse().map_err(|_| expected())?;
    if exponent.abs() > MAX_EXPONENT || mantissa.len() > MAX_DIGITS {
        return Err(format!("at most {MAX_DIGITS} digits and an exponent within ±{MAX_EXPONENT}"));
    }
    if scale == 0 {
        return Ok(written.into());
    }
    Ok(place(sign, whole, fraction, exponent + i64::from(scale)))
}

/// Writes the digits with the point moved right by `by`, in the shortest form.
fn place(sign: &str, whole: &str, fraction: &str, by: i64) -> String {
    let digits = format!("{whole}{fraction}");
    let point = i64::try_from(whole.len()).unwrap_or(i64::MAX).saturating_add(by);
    let zeroes = |count: i64| "0".repeat(usize::try_from(count).unwrap_or(0));
    let length = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    let padded = format!("{}{digits}{}", zeroes(-point), zeroes(point - length));
    let (whole, fraction) = padded.split_at(usize::try_from(point.max(0)).unwrap_or(0));
    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    match (whole, fraction) {
        ("0", "") => "0".into(),
        (whole, "") => format!("{sign}{whole}"),
        (whole, fraction) => format!("{sign}{whole}.{fraction}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_point_moves_and_no_digit_is_lost() {
        for (written, scale, expected) in [
            ("215", -1, "21.5"),
            ("215", 0, "215"),
            ("2.150", 0, "2.150"),
            ("2.150", 1, "21.5"),
            ("2.150e1", 0, "2.150e1"),
            ("2.150e1", -1, "2.15"),
            ("-5", -3, "-0.005"),
            ("-0", 2, "0"),
            ("0.1", 1, "1"),
            ("12345678901234567890.5", 1, "123456789012345678905"),
            ("7", 3, "7000"),
        ] {
            assert_eq!(shift(written, scale).as_deref(), Ok(expected), "{written} by {scale}");
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        for bad in
            ["", "-", "+1", "01", "1.", ".5", "1e", "1e+-2", "0x1", "NaN", "1e999", "\"1\"", "true", "1 "]
        {
            assert!(shift(bad, 1).is_err(), "{bad}");
            assert!(shift(bad, 0).is_err(), "{bad}");
        }
        assert!(shift(&"9".repeat(65), 0).is_err());
    }

    proptest::proptest! {
        #[test]
        fn there_and_back_is_the_same_number(number in -1_000_000_000_i64..1_000_000_000, scale in -20_i8..=20) {
            let there = shift(&number.to_string(), scale).expect("an integer is a number");
            let back = shift(&there, -scale).expect("what we wrote is a number");
            proptest::prop_assert_eq!(if scale == 0 { there } else { back }, number.to_string());
        }

        #[test]
        fn no_text_makes_it_panic(text in ".{0,80}", scale: i8) {
            let _ = shift(&text, scale);
        }
    }
}
