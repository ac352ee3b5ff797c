#![allow(missing_docs, clippy::all)]
use agentopia_host::*;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
async fn load(addr: std::net::SocketAddr, path: &str, body: Bytes, conns: usize, secs: f64) -> (f64, f64, f64) {
    let count = Arc::new(AtomicU64::new(0));
    let end = Instant::now() + Duration::from_secs_f64(secs);
    let mut tasks = vec![];
    for _ in 0..conns {
        let (count, path, body) = (count.clone(), path.to_owned(), body.clone());
        tasks.push(tokio::spawn(async move {
            let s = tokio::net::TcpStream::connect(addr).await.unwrap();
            s.set_nodelay(true).unwrap();
            let (mut send, conn) = hyper::client::conn::http1::handshake(hyper_util::rt::TokioIo::new(s))
                .await
                .unwrap();
            tokio::spawn(conn);
            let mut lat = vec![];
            while Instant::now() < end {
                let t = Instant::now();
                send.ready().await.unwrap();
                let r = http::Request::post(&path)
                    .header("host", "x")
                    .body(Full::new(body.clone()))
                    .unwrap();
                let resp = send.send_request(r).await.unwrap();
                assert_eq!(resp.status(), 200);
                resp.into_body().collect().await.unwrap();
                lat.push(t.elapsed().as_secs_f64() * 1e6);
                count.fetch_add(1, Relaxed);
            }
            lat
        }));
    }
    let mut lat = vec![];
    for t in tasks {
        lat.extend(t.await.unwrap());
    }
    lat.sort_by(f64::total_cmp);
    (
        count.load(Relaxed) as f64 / secs,
        lat[lat.len() / 2],
        lat[lat.len() * 99 / 100],
    )
}
#[tokio::test(flavor = "multi_thread")]
async fn bench() {
    let only = std::env::var("ONLY").unwrap_or_default();
    let secs: f64 = std::env::var("SECS").ok().and_then(|s| s.parse().ok()).unwrap_or(3.0);
    let dir = tempfile::tempdir().unwrap();
    let wasm =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/wasm32-wasip2/release/host_probe.wasm");
    std::fs::write(dir.path().join("spin.toml"), format!("spin_manifest_version = 2\n[application]\nname=\"x\"\n[variables]\ndatabase_url={{required=true}}\n[[trigger.http]]\nroute=\"/...\"\ncomponent=\"probe\"\n[component.probe]\nsource={:?}\nallowed_outbound_hosts=[\"postgres://*:*\"]\nvariables={{database_url=\"{{{{ database_url }}}}\"}}", wasm)).unwrap();
    let rt = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let l = rt
        .spawn(async { tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap() })
        .await
        .unwrap();
    let bare = l.local_addr().unwrap();
    rt.spawn(async move {
        loop {
            let (s, _) = l.accept().await.unwrap();
            s.set_nodelay(true).unwrap();
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(
                hyper_util::rt::TokioIo::new(s),
                hyper::service::service_fn(|r: http::Request<hyper::body::Incoming>| async {
                    let b = r.into_body().collect().await.unwrap().to_bytes();
                    Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(b)))
                }),
            ));
        }
    });
    for conns in [1, 32] {
        for _ in 0..2 {
            println!(
                "bare hyper   {conns:3} conns: {:?}",
                load(bare, "/", "hello".into(), conns, 3.0).await
            );
        }
    }
    for (name, reuse, pool) in [
        (
            "1 concurrent",
            InstanceReuse {
                max_concurrent: 1,
                ..Default::default()
            },
            PoolMode::Isolated,
        ),
        ("spin defaults", InstanceReuse::default(), PoolMode::Spin),
        (
            "no reuse",
            InstanceReuse {
                max_requests: 1,
                max_concurrent: 1,
                ..Default::default()
            },
            PoolMode::Isolated,
        ),
    ] {
        if !only.is_empty() && only != name { continue; }
        let mut o = HostOptions::new(dir.path().join("spin.toml"));
        o.variables
            .insert("database_url".into(), std::env::var("DATABASE_URL").unwrap());
        o.cache = Some(dir.path().join("cache"));
        o.reuse = reuse;
        o.pool = pool;
        let h = Host::start(o).await.unwrap();
        for conns in [1, 32] {
            for _ in 0..2 {
                println!(
                    "{name} echo {conns:3} conns: {:?}",
                    load(h.address(), &std::env::var("WHERE").unwrap_or("/echo".into()), "hello".into(), conns, secs).await
                );
            }
        }
        let s = h.statistics().total();
        println!("{name} {s:?}");
        if !only.is_empty() { h.shutdown().await; continue; }
        let q = Bytes::from_static(
            b"{\"statement\":\"SELECT $1::text::jsonb::text\",\"params\":[{\"str\":\"{\\\"a\\\": 1}\"}]}",
        );
        for conns in [1, 32] {
            println!(
                "{name} query {conns:3} conns: {:?}",
                load(h.address(), "/query", q.clone(), conns, 3.0).await
            );
        }
        println!("{name} {:?}", h.statistics().total());
        h.shutdown().await;
    }
    if !only.is_empty() { return rt.shutdown_background(); }
    // natively
    let url = std::env::var("DATABASE_URL").unwrap();
    for conns in [1, 8, 32] {
        let count = Arc::new(AtomicU64::new(0));
        let end = Instant::now() + Duration::from_secs(3);
        let mut ts = vec![];
        for _ in 0..conns {
            let (url, count) = (url.clone(), count.clone());
            ts.push(rt.spawn(async move {
                let (c, x) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
                tokio::spawn(x);
                let st = c.prepare("SELECT $1::text::jsonb::text").await.unwrap();
                while Instant::now() < end {
                    c.query(&st, &[&"{\"a\": 1}"]).await.unwrap();
                    count.fetch_add(1, Relaxed);
                }
            }));
        }
        for t in ts {
            t.await.unwrap();
        }
        println!("native {conns} {:.0}/s", count.load(Relaxed) as f64 / 3.0);
    }
    rt.shutdown_background();
}
