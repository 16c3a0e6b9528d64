// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 hello world with hyper 0.14 on Tokio, 2 workers. usage: http PORT
use hyper::server::conn::Http;
use hyper::service::service_fn;
use hyper::{Body, Request, Response};
use std::convert::Infallible;

async fn hello(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::builder()
        .header("content-type", "text/plain")
        .body(Body::from("Hello, world!"))
        .unwrap())
}

fn main() {
    let port: u16 = std::env::args().nth(1).unwrap().parse().unwrap();
    let rt = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    rt.block_on(async move {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let _ = Http::new()
                    .http1_only(true)
                    .serve_connection(stream, service_fn(hello))
                    .await;
            });
        }
    });
}
