//! Postgres, at the address in variable `database_url`.

use super::{Answer, json_answer, json_body, number};
use http::StatusCode;
use serde_json::{Value, json};
use spin_sdk::http::Request;
use spin_sdk::pg::{Connection, Error, ParameterValue, PgError, QueryError};
use spin_sdk::variables;
use std::time::Duration;

/// Runs `{statement, params, address?, execute?}` and answers columns and rows, or the error's variant and fields.
///
/// A parameter is an object of one type's name and its value, such as `{"int32": 5}`, or null. Values come back as Rust prints them.
pub(crate) async fn query(request: Request) -> Answer {
    let body = json_body(request).await;
    let answer = match run(&body).await {
        Ok(answer) => answer,
        Err(error) => describe(&error),
    };
    json_answer(StatusCode::OK, &answer)
}

/// Opens a transaction, runs the statement of the body in it, and leaves it open: by returning, or by trapping.
#[expect(clippy::panic, reason = "trapping is what this route is for")]
pub(crate) async fn begin(request: Request, trap: bool) -> Answer {
    let body = json_body(request).await;
    let outcome = async {
        let connection = open(&body).await?;
        connection.execute("BEGIN", vec![]).await?;
        connection.execute(text(&body, "statement"), vec![]).await
    }
    .await;
    if trap {
        panic!("trapped in a transaction: {outcome:?}");
    }
    json_answer(
        StatusCode::OK,
        &outcome.map_or_else(|error| describe(&error), |rows| json!({ "rows": rows })),
    )
}

/// Whether a fresh connection finds itself in a transaction that somebody else began: only there a savepoint is possible.
pub(crate) async fn in_transaction() -> Answer {
    let answer = match run(&json!({ "statement": "SAVEPOINT probe", "execute": true })).await {
        Ok(_) => json!({ "in_transaction": true }),
        Err(Error::PgError(PgError::QueryFailed(QueryError::DbError(error)))) if error.code == "25P01" => {
            json!({ "in_transaction": false })
        }
        Err(error) => describe(&error),
    };
    json_answer(StatusCode::OK, &answer)
}

/// Answers, and runs the statement of the body `ms` milliseconds later.
pub(crate) async fn after_response(request: Request, query: &str) -> Answer {
    let body = json_body(request).await;
    let pause = Duration::from_millis(number(query, "ms", 50));
    spin_sdk::wasip3::spawn(async move {
        spin_sdk::time::sleep(pause).await;
        // Nobody is left to tell; the test looks at the table.
        _ = run(&body).await;
    });
    json_answer(StatusCode::ACCEPTED, &Value::Null)
}

async fn open(body: &Value) -> Result<Connection, Error> {
    let address = match body.get("address").and_then(Value::as_str) {
        Some(address) => address.to_owned(),
        None => variables::get("database_url").await.unwrap_or_default(),
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "this component tries what platform keeps others from"
    )]
    Connection::open(address).await
}

async fn run(body: &Value) -> Result<Value, Error> {
    let connection = open(body).await?;
    let parameters: Vec<_> = body
        .get("params")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(parameter)
        .collect();
    if body.get("execute") == Some(&Value::Bool(true)) {
        let affected = connection.execute(text(body, "statement"), parameters).await?;
        return Ok(json!({ "affected": affected }));
    }
    let result = connection.query(text(body, "statement"), parameters).await?;
    let columns: Vec<_> = result
        .columns()
        .iter()
        .map(|column| json!([column.name, format!("{:?}", column.data_type)]))
        .collect();
    let (_, rows, outcome) = result.into_inner();
    let rows = rows.collect().await;
    outcome.await?;
    let rows: Vec<Vec<_>> = rows
        .iter()
        .map(|row| row.iter().map(|value| format!("{value:?}")).collect())
        .collect();
    Ok(json!({ "columns": columns, "rows": rows }))
}

fn text(body: &Value, field: &str) -> String {
    body.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn parameter(value: &Value) -> ParameterValue {
    let Some((kind, value)) = value.as_object().and_then(|object| object.iter().next()) else {
        return ParameterValue::DbNull;
    };
    let text = || value.as_str().unwrap_or_default().to_owned();
    let integer = || value.as_i64().unwrap_or_default();
    let numbers = || {
        value
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| item.as_i64().unwrap_or_default())
            .collect::<Vec<_>>()
    };
    let narrow = |index: usize| u8::try_from(numbers().get(index).copied().unwrap_or_default()).unwrap_or_default();
    let wide = |index: usize| numbers().get(index).copied().unwrap_or_default();
    let small = |number: i64| i32::try_from(number).unwrap_or_default();
    let nanoseconds = |index: usize| u32::try_from(wide(index)).unwrap_or_default();
    let texts = || {
        value
            .as_array()
            .into_iter()
            .flatten()
            .map(|item| item.as_str().map(str::to_owned))
            .collect()
    };
    match kind.as_str() {
        "boolean" => ParameterValue::Boolean(value.as_bool().unwrap_or_default()),
        "int8" => ParameterValue::Int8(i8::try_from(integer()).unwrap_or_default()),
        "int16" => ParameterValue::Int16(i16::try_from(integer()).unwrap_or_default()),
        "int32" => ParameterValue::Int32(small(integer())),
        "int64" => ParameterValue::Int64(integer()),
        "floating32" => ParameterValue::Floating32(value.as_f64().unwrap_or_default() as f32),
        "floating64" => ParameterValue::Floating64(value.as_f64().unwrap_or_default()),
        "str" => ParameterValue::Str(text()),
        "binary" => ParameterValue::Binary(text().into_bytes()),
        "date" => ParameterValue::Date((small(wide(0)), narrow(1), narrow(2))),
        "time" => ParameterValue::Time((narrow(0), narrow(1), narrow(2), nanoseconds(3))),
        "datetime" => ParameterValue::Datetime((
            small(wide(0)),
            narrow(1),
            narrow(2),
            narrow(3),
            narrow(4),
            narrow(5),
            nanoseconds(6),
        )),
        "timestamp" => ParameterValue::Timestamp(integer()),
        "uuid" => ParameterValue::Uuid(text()),
        "jsonb" => ParameterValue::Jsonb(text().into_bytes()),
        "decimal" => ParameterValue::Decimal(text()),
        "array_int32" => ParameterValue::ArrayInt32(numbers().into_iter().map(|number| Some(small(number))).collect()),
        "array_int64" => ParameterValue::ArrayInt64(numbers().into_iter().map(Some).collect()),
        "array_decimal" => ParameterValue::ArrayDecimal(texts()),
        "array_str" => ParameterValue::ArrayStr(texts()),
        "interval" => ParameterValue::Interval(spin_sdk::pg::Interval {
            micros: wide(0),
            days: small(wide(1)),
            months: small(wide(2)),
        }),
        _ => ParameterValue::DbNull,
    }
}

fn describe(error: &Error) -> Value {
    match error {
        Error::Decode(text) => json!({ "error": "decode", "text": text }),
        Error::PgError(PgError::ConnectionFailed(text)) => json!({ "error": "connection_failed", "text": text }),
        Error::PgError(PgError::BadParameter(text)) => json!({ "error": "bad_parameter", "text": text }),
        Error::PgError(PgError::ValueConversionFailed(text)) => {
            json!({ "error": "value_conversion_failed", "text": text })
        }
        Error::PgError(PgError::Other(text)) => json!({ "error": "other", "text": text }),
        Error::PgError(PgError::QueryFailed(QueryError::Text(text))) => {
            json!({ "error": "query_failed", "text": text })
        }
        Error::PgError(PgError::QueryFailed(QueryError::DbError(error))) => json!({
            "error": "db_error",
            "severity": error.severity,
            "code": error.code,
            "message": error.message,
            "detail": error.detail,
            "extras": error.extras,
        }),
    }
}
