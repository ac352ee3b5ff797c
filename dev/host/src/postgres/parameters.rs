//! Parameters on their way from a guest to Postgres.

use super::pool::Parameter;
use crate::bindings::postgres::{Interval, ParameterValue, RangeBoundKind};
use anyhow::{Context, anyhow};
use bytes::{BufMut, BytesMut};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use postgres_range::{BoundSided, BoundType, Normalizable, Range, RangeBound};
use rust_decimal::Decimal;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use uuid::Uuid;

type SqlError = Box<dyn std::error::Error + Sync + Send>;

/// Parameters as the driver takes them.
pub(crate) fn to_sql(values: &[ParameterValue]) -> anyhow::Result<Vec<Parameter>> {
    values.iter().map(one_to_sql).collect()
}

fn one_to_sql(value: &ParameterValue) -> anyhow::Result<Parameter> {
    Ok(match value {
        ParameterValue::Boolean(value) => Box::new(*value),
        ParameterValue::Int8(value) => Box::new(*value),
        ParameterValue::Int16(value) => Box::new(*value),
        ParameterValue::Int32(value) => Box::new(*value),
        ParameterValue::Int64(value) => Box::new(*value),
        ParameterValue::Floating32(value) => Box::new(*value),
        ParameterValue::Floating64(value) => Box::new(*value),
        ParameterValue::Str(value) => Box::new(value.clone()),
        ParameterValue::Binary(value) => Box::new(value.clone()),
        ParameterValue::Date((year, month, day)) => Box::new(date(*year, *month, *day)?),
        ParameterValue::Time((hour, minute, second, nanosecond)) => {
            Box::new(time(*hour, *minute, *second, *nanosecond)?)
        }
        ParameterValue::Datetime((year, month, day, hour, minute, second, nanosecond)) => Box::new(NaiveDateTime::new(
            date(*year, *month, *day)?,
            time(*hour, *minute, *second, *nanosecond)?,
        )),
        ParameterValue::Timestamp(seconds) => Box::new(
            DateTime::<Utc>::from_timestamp(*seconds, 0).ok_or_else(|| anyhow!("invalid epoch timestamp {seconds}"))?,
        ),
        ParameterValue::Uuid(text) => Box::new(Uuid::parse_str(text).with_context(|| format!("invalid UUID {text}"))?),
        ParameterValue::Jsonb(bytes) => Box::new(
            serde_json::from_slice::<serde_json::Value>(bytes)
                .with_context(|| format!("invalid JSON {}", String::from_utf8_lossy(bytes)))?,
        ),
        ParameterValue::Decimal(text) => Box::new(decimal(text)?),
        ParameterValue::RangeInt32((lower, upper)) => Box::new(range(*lower, *upper)),
        ParameterValue::RangeInt64((lower, upper)) => Box::new(range(*lower, *upper)),
        ParameterValue::RangeDecimal((lower, upper)) => {
            let end = |end: &Option<(String, RangeBoundKind)>| {
                end.as_ref()
                    .map(|(text, kind)| anyhow::Ok((RangeDecimal(decimal(text)?), *kind)))
                    .transpose()
            };
            Box::new(range(end(lower)?, end(upper)?))
        }
        ParameterValue::ArrayInt32(values) => Box::new(values.clone()),
        ParameterValue::ArrayInt64(values) => Box::new(values.clone()),
        ParameterValue::ArrayDecimal(values) => {
            let values: Vec<Option<Decimal>> = values
                .iter()
                .map(|value| value.as_deref().map(decimal).transpose())
                .collect::<anyhow::Result<_>>()?;
            Box::new(values)
        }
        ParameterValue::ArrayStr(values) => Box::new(values.clone()),
        ParameterValue::Interval(value) => Box::new(*value),
        ParameterValue::DbNull => Box::new(Null),
    })
}

fn date(year: i32, month: u8, day: u8) -> anyhow::Result<NaiveDate> {
    NaiveDate::from_ymd_opt(year, month.into(), day.into())
        .ok_or_else(|| anyhow!("invalid date y={year}, m={month}, d={day}"))
}

fn time(hour: u8, minute: u8, second: u8, nanosecond: u32) -> anyhow::Result<NaiveTime> {
    NaiveTime::from_hms_nano_opt(hour.into(), minute.into(), second.into(), nanosecond)
        .ok_or_else(|| anyhow!("invalid time {hour}:{minute}:{second}:{nanosecond}"))
}

fn decimal(text: &str) -> anyhow::Result<Decimal> {
    Decimal::from_str_exact(text).with_context(|| format!("invalid decimal {text}"))
}

fn range<T: Normalizable + PartialOrd>(
    lower: Option<(T, RangeBoundKind)>,
    upper: Option<(T, RangeBoundKind)>,
) -> Range<T> {
    fn bound<S: BoundSided, T: Normalizable + PartialOrd>((value, kind): (T, RangeBoundKind)) -> RangeBound<S, T> {
        let kind = match kind {
            RangeBoundKind::Inclusive => BoundType::Inclusive,
            RangeBoundKind::Exclusive => BoundType::Exclusive,
        };
        RangeBound::new(value, kind)
    }
    Range::new(lower.map(bound), upper.map(bound))
}

/// SQL NULL for a column of any type.
#[derive(Debug)]
struct Null;

impl ToSql for Null {
    fn to_sql(&self, _: &Type, _: &mut BytesMut) -> Result<IsNull, SqlError> {
        Ok(IsNull::Yes)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl ToSql for Interval {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, SqlError> {
        out.put_i64(self.micros);
        out.put_i32(self.days);
        out.put_i32(self.months);
        Ok(IsNull::No)
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::INTERVAL
    }

    to_sql_checked!();
}

/// A decimal as the end of a range.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub(crate) struct RangeDecimal(pub(crate) Decimal);

impl Normalizable for RangeDecimal {
    fn normalize<S: BoundSided>(bound: RangeBound<S, Self>) -> RangeBound<S, Self> {
        bound
    }
}

impl ToSql for RangeDecimal {
    fn to_sql(&self, kind: &Type, out: &mut BytesMut) -> Result<IsNull, SqlError> {
        self.0.to_sql(kind, out)
    }

    fn accepts(kind: &Type) -> bool {
        <Decimal as ToSql>::accepts(kind)
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for RangeDecimal {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, SqlError> {
        Decimal::from_sql(kind, raw).map(Self)
    }

    fn accepts(kind: &Type) -> bool {
        <Decimal as FromSql>::accepts(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impossible_values_are_refused() {
        let refusals = [
            (ParameterValue::Date((2026, 2, 30)), "invalid date"),
            (ParameterValue::Time((24, 0, 0, 0)), "invalid time"),
            (ParameterValue::Uuid("no".into()), "invalid UUID no"),
            (ParameterValue::Jsonb(b"{".to_vec()), "invalid JSON {"),
            (ParameterValue::Decimal("1,5".into()), "invalid decimal"),
            (ParameterValue::Timestamp(i64::MAX), "invalid epoch timestamp"),
            (
                ParameterValue::ArrayDecimal(vec![None, Some("x".into())]),
                "invalid decimal x",
            ),
        ];

        for (value, reason) in refusals {
            let error = one_to_sql(&value).unwrap_err();
            assert!(format!("{error:#}").contains(reason), "{value:?}: {error:#}");
        }
    }
}
