//! The stand-in worlds over HTTP, as a client meets them.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::time::{Duration, Instant};

use agentopia_stack::token::Signer;
use agentopia_stack::worlds::openai::ANNOUNCEMENT;
use agentopia_stack::worlds::{JwksWorld, OpenAiOptions, OpenAiWorld};
use insta::assert_snapshot;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

async fn world() -> OpenAiWorld {
    OpenAiWorld::start(OpenAiOptions::default()).await.unwrap()
}

/// A request of one message to `model`, with `more` added.
fn ask(model: &str, message: &str, more: Value) -> Value {
    let mut body = json!({ "model": model, "messages": [{ "role": "user", "content": message }] });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

async fn post(world: &OpenAiWorld, path: &str, body: &Value) -> Response {
    Client::new()
        .post(format!("{}{path}", world.url()))
        .bearer_auth("sk-test")
        .json(body)
        .send()
        .await
        .unwrap()
}

async fn complete(world: &OpenAiWorld, body: Value) -> Response {
    post(world, "/chat/completions", &body).await
}

async fn json_of(response: Response) -> Value {
    response.json().await.unwrap()
}

/// The payloads of a stream's events.
fn events(text: &str) -> Vec<&str> {
    text.split("\n\n")
        .filter_map(|event| event.strip_prefix("data: "))
        .collect()
}

/// The content of the deltas of a stream.
fn content(events: &[&str]) -> String {
    let deltas = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok());
    deltas
        .filter_map(|delta| delta["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect()
}

/// `status code: message` of an error.
async fn refusal(response: Response) -> String {
    let status = response.status();
    let error = json_of(response).await["error"].clone();
    format!(
        "{} {} {}: {}",
        status.as_u16(),
        error["code"],
        error["param"],
        error["message"].as_str().unwrap()
    )
}

#[tokio::test]
async fn a_reply_echoes_the_user_and_counts_what_was_said() {
    let world = world().await;

    let response = complete(&world, ask("gpt-4o-mini", "Hello, world", json!({}))).await;

    assert_eq!(response.status(), StatusCode::OK);
    assert!(
        response.headers().contains_key("content-length"),
        "a whole reply has a known length"
    );
    let reply = json_of(response).await;
    assert_eq!(reply["choices"][0]["message"]["content"], "You said: Hello, world");
    assert_eq!(reply["choices"][0]["finish_reason"], "stop");
    assert_eq!(reply["usage"]["completion_tokens"], 6);
    assert_eq!(
        reply["usage"]["total_tokens"],
        6 + reply["usage"]["prompt_tokens"].as_u64().unwrap()
    );
    assert_eq!(world.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_stream_has_a_delta_for_each_token_and_ends_with_usage_and_done() {
    let world = world().await;
    let options = json!({ "stream": true, "stream_options": { "include_usage": true } });

    let response = complete(&world, ask("gpt-4o", "Hello, world", options)).await;

    assert_eq!(response.headers()["content-type"], "text/event-stream; charset=utf-8");
    let text = response.text().await.unwrap();
    let events = events(&text);
    assert_eq!(content(&events), "You said: Hello, world");
    assert_eq!(events.len(), 1 + 6 + 3, "role, deltas, finish, usage, done");
    let finish: Value = serde_json::from_str(events[7]).unwrap();
    assert_eq!(
        (&finish["choices"][0]["finish_reason"], &finish["usage"]),
        (&json!("stop"), &Value::Null)
    );
    let usage: Value = serde_json::from_str(events[8]).unwrap();
    assert_eq!(
        (&usage["choices"], &usage["usage"]["completion_tokens"]),
        (&json!([]), &json!(6))
    );
    assert_eq!(events[9], "[DONE]");
}

#[tokio::test]
async fn a_stand_in_says_so_if_it_is_told_to() {
    let world = OpenAiWorld::start(OpenAiOptions {
        announce: true,
        ..OpenAiOptions::default()
    })
    .await
    .unwrap();

    let reply = json_of(complete(&world, ask("gpt-4o", "Hi", json!({}))).await).await;

    assert_eq!(
        reply["choices"][0]["message"]["content"],
        format!("{ANNOUNCEMENT} You said: Hi")
    );
}

#[tokio::test]
async fn the_cadence_and_the_length_of_a_stream_are_chosen() {
    let options = OpenAiOptions {
        delta_interval: Duration::from_millis(5),
        reply_deltas: Some(40),
        ..OpenAiOptions::default()
    };
    let world = OpenAiWorld::start(options).await.unwrap();
    let begin = Instant::now();

    let text = complete(&world, ask("gpt-4o", "Hi", json!({ "stream": true })))
        .await
        .text()
        .await
        .unwrap();

    let took = begin.elapsed();
    assert_eq!(events(&text).len(), 1 + 40 + 2);
    assert!(
        (200..1_000).contains(&took.as_millis()),
        "40 deltas at 5 ms took {took:?}"
    );
}

#[tokio::test]
async fn a_tool_is_called_when_the_user_asks_for_it() {
    let world = world().await;
    let tools = json!({ "tools": [{ "type": "function", "function": { "name": "get_weather", "parameters": {} } }] });
    let question = "Please call:get_weather {\"city\": \"Paris\"} and call:unknown {}";

    let whole = json_of(complete(&world, ask("gpt-4o", question, tools.clone())).await).await;

    let choice = &whole["choices"][0];
    assert_eq!(
        (&choice["finish_reason"], &choice["message"]["content"]),
        (&json!("tool_calls"), &Value::Null)
    );
    let calls = choice["message"]["tool_calls"].as_array().unwrap();
    assert_eq!(calls.len(), 1);
    assert_eq!(
        calls[0]["function"],
        json!({ "name": "get_weather", "arguments": "{\"city\":\"Paris\"}" })
    );

    let mut streamed = ask("gpt-4o", question, tools);
    streamed["stream"] = json!(true);
    let text = complete(&world, streamed).await.text().await.unwrap();
    let deltas: Vec<Value> = events(&text)
        .iter()
        .filter_map(|event| serde_json::from_str(event).ok())
        .collect();
    let parts = deltas
        .iter()
        .map(|delta| &delta["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"]);
    assert_eq!(
        parts.filter_map(Value::as_str).collect::<String>(),
        "{\"city\":\"Paris\"}"
    );
    assert_eq!(
        deltas[1]["choices"][0]["delta"]["tool_calls"][0]["function"]["name"],
        "get_weather"
    );

    let answered = json!({ "model": "gpt-4o", "messages": [
        { "role": "user", "content": question },
        choice["message"],
        { "role": "tool", "tool_call_id": calls[0]["id"], "content": "sunny" },
    ] });
    let reply = json_of(complete(&world, answered).await).await;
    assert_eq!(reply["choices"][0]["message"]["content"], "The tool said: sunny");
    assert_eq!(world.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn a_json_reply_is_json() {
    let world = world().await;
    let format = json!({ "response_format": { "type": "json_object" } });

    let reply = json_of(complete(&world, ask("gpt-4o", "Hi", format)).await).await;

    let content: Value = serde_json::from_str(reply["choices"][0]["message"]["content"].as_str().unwrap()).unwrap();
    assert_eq!(content, json!({ "reply": "You said: Hi" }));
}

#[tokio::test]
async fn a_reply_is_cut_at_the_limit_of_tokens() {
    let world = world().await;

    let reply = json_of(complete(&world, ask("gpt-4o", "Hello, world", json!({ "max_tokens": 3 }))).await).await;

    let choice = &reply["choices"][0];
    assert_eq!(
        (&choice["message"]["content"], &choice["finish_reason"]),
        (&json!("You said:"), &json!("length"))
    );
    assert_eq!(reply["usage"]["completion_tokens"], 3);
}

#[tokio::test]
async fn what_openai_refuses_is_refused_in_its_words() {
    let world = world().await;
    let mut answers = Vec::new();
    for body in [
        json!({ "messages": [] }),
        json!({ "model": "gpt-9", "messages": [{ "role": "user", "content": "x" }] }),
        json!({ "model": "gpt-4o" }),
        json!({ "model": "gpt-4o", "messages": [] }),
        json!({ "model": "gpt-4o", "messages": [{ "role": "robot", "content": "x" }] }),
        json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": null }] }),
        json!({ "model": "gpt-4o", "messages": [{ "role": "user", "content": 7 }] }),
        json!({ "model": "gpt-4o", "messages": [{ "role": "user", "name": "Ada Lovelace", "content": "x" }] }),
        json!({ "model": "gpt-4o", "messages": [{ "role": "tool", "tool_call_id": "1", "content": "x" }] }),
        ask("gpt-4o", "x", json!({ "temperature": 2.5 })),
        ask("gpt-4o", "x", json!({ "temperature": "hot" })),
        ask("gpt-4o", "x", json!({ "max_tokens": 0 })),
        ask("gpt-4o", "x", json!({ "max_tokens": 5, "max_completion_tokens": 5 })),
        ask("o3-mini", "x", json!({ "max_tokens": 5 })),
        ask("gpt-5", "x", json!({ "temperature": 0.7 })),
        ask("gpt-4o", "x", json!({ "stream_options": { "include_usage": true } })),
        ask("gpt-4o", "x", json!({ "colour": "red" })),
        ask("gpt-4o", "x", json!({ "tools": [] })),
        ask("gpt-4o", "x", json!({ "tool_choice": "auto" })),
        ask("text-embedding-3-small", "x", json!({})),
        ask("gpt-4", &"word ".repeat(9_000), json!({})),
    ] {
        answers.push(refusal(complete(&world, body).await).await);
    }

    assert_snapshot!(answers.join("\n"));
    assert_eq!(
        world.complaints().len(),
        answers.len() - 2,
        "all but the unknown model and the long text"
    );
}

#[tokio::test]
async fn keys_are_checked_and_never_recorded() {
    let world = OpenAiWorld::start(OpenAiOptions {
        api_key: Some("sk-right".to_owned()),
        ..OpenAiOptions::default()
    })
    .await
    .unwrap();
    let client = Client::new();
    let url = format!("{}/chat/completions", world.url());
    let body = ask("gpt-4o", "Hi", json!({}));

    let missing = client.post(&url).json(&body).send().await.unwrap();
    let wrong = client
        .post(&url)
        .bearer_auth("sk-wrong-key")
        .json(&body)
        .send()
        .await
        .unwrap();
    let right = client
        .post(&url)
        .bearer_auth("sk-right")
        .header("x-marker", "7")
        .json(&body)
        .send()
        .await
        .unwrap();

    assert!(
        refusal(missing)
            .await
            .starts_with("401 null null: You didn't provide an API key.")
    );
    let wrong = refusal(wrong).await;
    assert!(
        wrong.starts_with("401 \"invalid_api_key\" null: Incorrect API key provided: sk-w****-key."),
        "{wrong}"
    );
    assert_eq!(right.status(), StatusCode::OK);
    let received = world.received();
    assert_eq!(
        received.iter().map(|request| request.is_authorized).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert_eq!(received[2].header("x-marker"), Some("7"));
    assert_eq!(received[2].messages(), [("user".to_owned(), "Hi".to_owned())]);
    assert!(!format!("{received:?}").contains("sk-"));
    assert_eq!(world.complaints(), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_world_does_not_have_is_a_complaint() {
    let world = world().await;
    let client = Client::new();

    let unknown = post(&world, "/responses", &json!({})).await;
    let method = client
        .get(format!("{}/chat/completions", world.url()))
        .bearer_auth("sk")
        .send()
        .await
        .unwrap();
    let broken = client
        .post(format!("{}/chat/completions", world.url()))
        .bearer_auth("sk")
        .body("{")
        .send()
        .await
        .unwrap();

    assert_eq!(
        refusal(unknown).await,
        "404 null null: Invalid URL (POST /v1/responses)"
    );
    assert_eq!(method.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(broken.status(), StatusCode::BAD_REQUEST);
    assert_eq!(world.complaints().len(), 3);
    assert_eq!(
        world.complaints()[0],
        "POST /v1/responses: Invalid URL (POST /v1/responses)"
    );
}

#[tokio::test]
async fn limits_and_failures_come_by_model_or_header_and_by_conversation() {
    let world = world().await;
    let status =
        async |model: &str, message: &str| complete(&world, ask(model, message, json!({}))).await.status().as_u16();

    let limited = complete(&world, ask("stand-in-429", "one", json!({}))).await;
    assert_eq!(
        (limited.status().as_u16(), &limited.headers()["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    assert!(refusal(limited).await.contains("\"rate_limit_exceeded\""));
    assert_eq!(status("stand-in-429", "one").await, 200, "the same conversation again");
    assert_eq!(status("stand-in-429", "two").await, 429, "another conversation");
    for expected in [429, 429, 200] {
        assert_eq!(status("stand-in-429-2", "three").await, expected);
    }
    for (model, expected) in [
        ("stand-in-429-always", [429, 429]),
        ("stand-in-500", [500, 500]),
        ("stand-in-500-once", [500, 200]),
        ("stand-in-503-once", [503, 200]),
        ("stand-in-401", [401, 401]),
    ] {
        assert_eq!(
            [status(model, "x").await, status(model, "x").await],
            expected,
            "{model}"
        );
    }
    let quota = complete(&world, ask("stand-in-quota", "x", json!({}))).await;
    assert!(!quota.headers().contains_key("retry-after"));
    assert!(refusal(quota).await.starts_with("429 \"insufficient_quota\""));
    let context = complete(&world, ask("stand-in-context", "x", json!({}))).await;
    assert!(
        refusal(context)
            .await
            .starts_with("400 \"context_length_exceeded\" \"messages\"")
    );
    let by_header = Client::new()
        .post(format!("{}/chat/completions", world.url()))
        .bearer_auth("sk");
    let by_header = by_header
        .header("x-stand-in-fault", "500")
        .json(&ask("gpt-4o", "x", json!({})))
        .send()
        .await
        .unwrap();
    assert_eq!(by_header.status().as_u16(), 500);
    assert_eq!(
        world.complaints(),
        Vec::<String>::new(),
        "a fault is no fault of the client"
    );
}

/// What arrives of a stream by this fault within a second, and whether it ended by itself.
async fn raw_stream(world: &OpenAiWorld, model: &str) -> (Vec<Vec<u8>>, bool) {
    let body = ask(model, "one two three four", json!({ "stream": true })).to_string();
    let mut connection = TcpStream::connect(world.origin().trim_start_matches("http://"))
        .await
        .unwrap();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer sk\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(head.as_bytes()).await.unwrap();
    let mut packets = Vec::new();
    let ended = loop {
        let mut packet = vec![0; 65_536];
        match tokio::time::timeout(Duration::from_secs(1), connection.read(&mut packet)).await {
            Ok(Ok(0) | Err(_)) => break true,
            Ok(Ok(length)) => {
                packet.truncate(length);
                let is_last = packet.ends_with(b"0\r\n\r\n");
                packets.push(packet);
                if is_last {
                    break false;
                }
            }
            Err(_) => break false,
        }
    };
    (packets, ended)
}

#[tokio::test]
async fn a_stream_stalls_or_is_cut_or_breaks_after_two_deltas() {
    let world = world().await;
    let text = |packets: &[Vec<u8>]| String::from_utf8(packets.concat()).unwrap();

    assert_eq!(
        raw_stream(&world, "stand-in-stall").await,
        (Vec::new(), false),
        "not a byte"
    );
    for (model, ended, contains) in [
        ("stand-in-stall-mid", false, ""),
        ("stand-in-cut", true, ""),
        ("stand-in-error-mid", false, "\"type\":\"server_error\""),
        ("stand-in-malformed", false, "\"choices\":[{\n\n"),
    ] {
        let (packets, was_ended) = raw_stream(&world, model).await;
        let text = text(&packets);

        assert_eq!(was_ended, ended, "{model}");
        assert!(
            text.contains("\"content\":\"You\"") && text.contains("\"content\":\" said\""),
            "{model}: {text}"
        );
        assert!(
            !text.contains("\"content\":\":\""),
            "{model}: the third delta never comes"
        );
        assert!(text.contains(contains), "{model}: {text}");
        assert_eq!(
            text.ends_with("0\r\n\r\n"),
            matches!(model, "stand-in-error-mid" | "stand-in-malformed"),
            "{model}"
        );
    }
}

#[tokio::test]
async fn a_whole_reply_breaks_too() {
    let world = world().await;
    let limit = Duration::from_millis(300);

    let malformed = complete(&world, ask("stand-in-malformed", "x", json!({}))).await;
    let cut = complete(&world, ask("stand-in-cut", "x", json!({}))).await;
    let stalled = complete(&world, ask("stand-in-stall-mid", "x", json!({}))).await;

    assert!(serde_json::from_str::<Value>(&malformed.text().await.unwrap()).is_err());
    assert!(cut.text().await.is_err());
    assert!(tokio::time::timeout(limit, stalled.text()).await.is_err());
    assert!(
        tokio::time::timeout(limit, complete(&world, ask("stand-in-stall", "x", json!({}))))
            .await
            .is_err()
    );
}

#[tokio::test]
async fn a_reply_can_be_empty_short_withheld_or_slow() {
    let world = world().await;
    let choice = async |model: &str| {
        json_of(complete(&world, ask(model, "a b c d", json!({}))).await).await["choices"][0].clone()
    };

    let empty = choice("stand-in-empty").await;
    assert_eq!(
        (&empty["message"]["content"], &empty["finish_reason"]),
        (&Value::Null, &json!("stop"))
    );
    let short = choice("stand-in-length").await;
    assert_eq!(
        (&short["message"]["content"], &short["finish_reason"]),
        (&json!("You said: a"), &json!("length"))
    );
    let withheld = choice("stand-in-filter").await;
    assert_eq!(
        (&withheld["message"]["content"], &withheld["finish_reason"]),
        (&json!(""), &json!("content_filter"))
    );
    let begin = Instant::now();
    choice("stand-in-slow").await;
    assert!(begin.elapsed() >= Duration::from_millis(7 * 50));
}

#[tokio::test]
async fn odd_frames_are_split_inside_characters_and_still_one_reply() {
    let world = world().await;

    let (packets, _) = raw_stream(&world, "stand-in-odd-frames").await;

    assert!(
        packets.iter().any(|packet| std::str::from_utf8(packet).is_err()),
        "a character is split between packets"
    );
    let text = complete(&world, ask("stand-in-odd-frames", "Hi", json!({ "stream": true })))
        .await
        .text()
        .await
        .unwrap();
    assert!(text.starts_with(": a comment\r\n"));
    let text = text.replace("\r\n", "\n").replace("data:{", "data: {");
    let data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(content(&data), "You said: Hi größer ✓ 🙂");
}

#[tokio::test]
async fn embeddings_are_unit_vectors_of_the_size_that_was_asked() {
    let world = world().await;
    let embed = async |body: Value| post(&world, "/embeddings", &body).await;

    let two = json_of(embed(json!({ "model": "text-embedding-3-small", "input": ["a cat", "a dog"] })).await).await;
    let short =
        json_of(embed(json!({ "model": "text-embedding-3-large", "input": "a cat", "dimensions": 256 })).await).await;
    let packed = json!({ "model": "text-embedding-3-small", "input": "a cat", "encoding_format": "base64" });
    let packed = json_of(embed(packed).await).await;

    let vector = |value: &Value| {
        value
            .as_array()
            .unwrap()
            .iter()
            .map(|n| n.as_f64().unwrap())
            .collect::<Vec<_>>()
    };
    let first = vector(&two["data"][0]["embedding"]);
    assert_eq!((first.len(), two["data"].as_array().unwrap().len()), (1536, 2));
    assert!((first.iter().map(|n| n * n).sum::<f64>() - 1.0).abs() < 1e-4);
    assert_ne!(first, vector(&two["data"][1]["embedding"]));
    assert_eq!(vector(&short["data"][0]["embedding"]).len(), 256);
    assert_eq!(packed["data"][0]["embedding"].as_str().unwrap().len(), 1536 * 4 / 3 * 4);
    assert_eq!(two["usage"]["prompt_tokens"], 4);
    assert_eq!(world.complaints(), Vec::<String>::new());
    for body in [
        json!({ "model": "text-embedding-3-small" }),
        json!({ "model": "text-embedding-3-small", "input": "" }),
        json!({ "model": "text-embedding-3-small", "input": "x", "dimensions": 2000 }),
        json!({ "model": "text-embedding-ada-002", "input": "x", "dimensions": 256 }),
        json!({ "model": "gpt-4o", "input": "x" }),
    ] {
        assert_eq!(embed(body.clone()).await.status().as_u16(), 400, "{body}");
    }
}

#[tokio::test]
async fn the_models_are_listed() {
    let world = world().await;
    let get = async |path: &str| {
        Client::new()
            .get(format!("{}{path}", world.url()))
            .bearer_auth("sk")
            .send()
            .await
            .unwrap()
    };

    let list = json_of(get("/models").await).await;

    assert!(
        list["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|model| model["id"] == "gpt-4o-mini")
    );
    assert_eq!(json_of(get("/models/gpt-4o").await).await["object"], "model");
    assert_eq!(get("/models/gpt-9").await.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_stopped_world_refuses_connections() {
    let world = world().await;
    let url = world.url();

    world.stop().await;

    assert!(
        Client::new()
            .get(format!("{url}/models"))
            .send()
            .await
            .unwrap_err()
            .is_connect()
    );
}

#[tokio::test]
async fn published_keys_can_be_rotated_slow_and_down() {
    let (old, new) = (Signer::es256("old").unwrap(), Signer::es256("new").unwrap());
    let world = JwksWorld::start(&[&old]).await.unwrap();
    let kids = async || {
        let document = json_of(reqwest::get(world.url()).await.unwrap()).await;
        document["keys"]
            .as_array()
            .unwrap()
            .iter()
            .map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };

    assert_eq!(kids().await, ["old"]);
    world.set_keys(&[&new, &old]).unwrap();
    assert_eq!(kids().await, ["new", "old"]);
    world.set_delay(Duration::from_millis(200));
    let begin = Instant::now();
    kids().await;
    assert!(begin.elapsed() >= Duration::from_millis(200));
    world.set_delay(Duration::ZERO);
    world.set_down(true);
    assert_eq!(
        reqwest::get(world.url()).await.unwrap().status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(world.fetches(), 4);
    assert_eq!(
        reqwest::get(format!("{}/elsewhere", world.origin()))
            .await
            .unwrap()
            .status(),
        StatusCode::NOT_FOUND
    );
    assert_eq!(world.complaints().len(), 1);
    assert_eq!(world.issuer(), world.url().replace("/.well-known/jwks.json", ""));
}
