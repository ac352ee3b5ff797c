//! Rows on their way from Postgres to a guest.

use super::parameters::RangeDecimal;
use crate::bindings::postgres::{Column, DbDataType, DbValue, Interval, RangeBoundKind};
use bytes::Buf;
use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use postgres_range::{BoundSided, BoundType, Range, RangeBound};
use rust_decimal::Decimal;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type};
use uuid::Uuid;

type SqlError = Box<dyn std::error::Error + Sync + Send>;

/// The columns of a row.
pub(crate) fn columns(row: &Row) -> Vec<Column> {
    row.columns()
        .iter()
        .map(|column| Column {
            name: column.name().to_owned(),
            data_type: data_type(column.type_()),
        })
        .collect()
}

/// The values of a row; an error if one cannot be read as what its column says.
pub(crate) fn row(row: &Row) -> anyhow::Result<Vec<DbValue>> {
    row.columns()
        .iter()
        .enumerate()
        .map(|(index, column)| value(row, index, column.type_()))
        .collect()
}

/// About how much memory a row takes.
pub(crate) fn size(row: &[DbValue]) -> usize {
    row.iter()
        .map(|value| {
            let beyond = match value {
                DbValue::Str(text) | DbValue::Decimal(text) | DbValue::Uuid(text) => text.len(),
                DbValue::Binary(bytes) | DbValue::Jsonb(bytes) | DbValue::Unsupported(bytes) => bytes.len(),
                DbValue::ArrayInt32(values) => size_of_val(values.as_slice()),
                DbValue::ArrayInt64(values) => size_of_val(values.as_slice()),
                DbValue::ArrayDecimal(values) | DbValue::ArrayStr(values) => {
                    size_of_val(values.as_slice()) + values.iter().flatten().map(String::len).sum::<usize>()
                }
                _ => 0,
            };
            size_of::<DbValue>() + beyond
        })
        .sum()
}

fn data_type(kind: &Type) -> DbDataType {
    match *kind {
        Type::BOOL => DbDataType::Boolean,
        Type::BYTEA => DbDataType::Binary,
        Type::FLOAT4 => DbDataType::Floating32,
        Type::FLOAT8 => DbDataType::Floating64,
        Type::INT2 => DbDataType::Int16,
        Type::INT4 => DbDataType::Int32,
        Type::INT8 => DbDataType::Int64,
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => DbDataType::Str,
        Type::TIMESTAMP | Type::TIMESTAMPTZ => DbDataType::Datetime,
        Type::DATE => DbDataType::Date,
        Type::TIME => DbDataType::Time,
        Type::UUID => DbDataType::Uuid,
        Type::JSONB => DbDataType::Jsonb,
        Type::NUMERIC => DbDataType::Decimal,
        Type::INT4_RANGE => DbDataType::RangeInt32,
        Type::INT8_RANGE => DbDataType::RangeInt64,
        Type::NUM_RANGE => DbDataType::RangeDecimal,
        Type::INT4_ARRAY => DbDataType::ArrayInt32,
        Type::INT8_ARRAY => DbDataType::ArrayInt64,
        Type::NUMERIC_ARRAY => DbDataType::ArrayDecimal,
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY => DbDataType::ArrayStr,
        Type::INTERVAL => DbDataType::Interval,
        _ => DbDataType::Other(kind.name().to_owned()),
    }
}

fn value(row: &Row, index: usize, kind: &Type) -> anyhow::Result<DbValue> {
    match *kind {
        Type::BOOL => get(row, index, DbValue::Boolean),
        Type::BYTEA => get(row, index, DbValue::Binary),
        Type::FLOAT4 => get(row, index, DbValue::Floating32),
        Type::FLOAT8 => get(row, index, DbValue::Floating64),
        Type::INT2 => get(row, index, DbValue::Int16),
        Type::INT4 => get(row, index, DbValue::Int32),
        Type::INT8 => get(row, index, DbValue::Int64),
        Type::TEXT | Type::VARCHAR | Type::BPCHAR => get(row, index, DbValue::Str),
        // A `timestamptz` does not read as this type: Spin answers an error, and so does this.
        Type::TIMESTAMP | Type::TIMESTAMPTZ => try_get(row, index, datetime),
        Type::DATE => try_get(row, index, date),
        Type::TIME => try_get(row, index, time),
        Type::UUID => get(row, index, |id: Uuid| DbValue::Uuid(id.to_string())),
        Type::JSONB => try_get(row, index, |json: serde_json::Value| {
            Ok(DbValue::Jsonb(serde_json::to_vec(&json)?))
        }),
        Type::NUMERIC => get(row, index, |number: Decimal| DbValue::Decimal(number.to_string())),
        Type::INT4_RANGE => get(row, index, |range: Range<i32>| {
            DbValue::RangeInt32(ends(&range, |end| *end))
        }),
        Type::INT8_RANGE => get(row, index, |range: Range<i64>| {
            DbValue::RangeInt64(ends(&range, |end| *end))
        }),
        Type::NUM_RANGE => get(row, index, |range: Range<RangeDecimal>| {
            DbValue::RangeDecimal(ends(&range, |end| end.0.to_string()))
        }),
        Type::INT4_ARRAY => get(row, index, DbValue::ArrayInt32),
        Type::INT8_ARRAY => get(row, index, DbValue::ArrayInt64),
        Type::NUMERIC_ARRAY => get(row, index, |numbers: Vec<Option<Decimal>>| {
            DbValue::ArrayDecimal(numbers.into_iter().map(|number| Some(number?.to_string())).collect())
        }),
        Type::TEXT_ARRAY | Type::VARCHAR_ARRAY | Type::BPCHAR_ARRAY => get(row, index, DbValue::ArrayStr),
        Type::INTERVAL => get(row, index, DbValue::Interval),
        _ => get(row, index, |Unknown(bytes)| DbValue::Unsupported(bytes)),
    }
}

fn get<'a, T: FromSql<'a>>(row: &'a Row, index: usize, wrap: impl FnOnce(T) -> DbValue) -> anyhow::Result<DbValue> {
    try_get(row, index, |value| Ok(wrap(value)))
}

fn try_get<'a, T: FromSql<'a>>(
    row: &'a Row,
    index: usize,
    wrap: impl FnOnce(T) -> anyhow::Result<DbValue>,
) -> anyhow::Result<DbValue> {
    row.try_get::<_, Option<T>>(index)?.map_or(Ok(DbValue::DbNull), wrap)
}

fn date(value: NaiveDate) -> anyhow::Result<DbValue> {
    Ok(DbValue::Date((
        value.year(),
        value.month().try_into()?,
        value.day().try_into()?,
    )))
}

fn time(value: NaiveTime) -> anyhow::Result<DbValue> {
    Ok(DbValue::Time((
        value.hour().try_into()?,
        value.minute().try_into()?,
        value.second().try_into()?,
        value.nanosecond(),
    )))
}

fn datetime(value: NaiveDateTime) -> anyhow::Result<DbValue> {
    Ok(DbValue::Datetime((
        value.year(),
        value.month().try_into()?,
        value.day().try_into()?,
        value.hour().try_into()?,
        value.minute().try_into()?,
        value.second().try_into()?,
        value.nanosecond(),
    )))
}

/// The ends of a range, each with its kind.
type Ends<W> = (Option<(W, RangeBoundKind)>, Option<(W, RangeBoundKind)>);

fn ends<T: postgres_range::Normalizable + PartialOrd, W>(range: &Range<T>, read: impl Fn(&T) -> W) -> Ends<W> {
    fn end<S: BoundSided, T, W>(bound: &RangeBound<S, T>, read: impl Fn(&T) -> W) -> (W, RangeBoundKind) {
        let kind = match bound.type_ {
            BoundType::Inclusive => RangeBoundKind::Inclusive,
            BoundType::Exclusive => RangeBoundKind::Exclusive,
        };
        (read(&bound.value), kind)
    }
    (
        range.lower().map(|bound| end(bound, &read)),
        range.upper().map(|bound| end(bound, &read)),
    )
}

impl<'a> FromSql<'a> for Interval {
    fn from_sql(_: &Type, mut raw: &'a [u8]) -> Result<Self, SqlError> {
        if raw.len() != 16 {
            return Err("unexpected binary format for Postgres INTERVAL".into());
        }
        Ok(Self {
            micros: raw.get_i64(),
            days: raw.get_i32(),
            months: raw.get_i32(),
        })
    }

    fn accepts(kind: &Type) -> bool {
        *kind == Type::INTERVAL
    }
}

/// A value of a type that guests have no name for.
struct Unknown(Vec<u8>);

impl<'a> FromSql<'a> for Unknown {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, SqlError> {
        Ok(Self(raw.to_vec()))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
