// SPDX-License-Identifier: Apache-2.0
// HTTP/1.1 hello world with hyper 1 on Tokio, 2 workers: the same as ../hyper, in the words of its successor. usage: http PORT
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{server::conn::http1, service::service_fn, Request, Response};
use std::convert::Infallible;
use tokio::net::TcpListener;

async fn hello(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = Full::new(Bytes::from_static(b"Hello, world!"));
    Ok(Response::builder().header("content-type", "text/plain").body(body).unwrap())
}

async fn serve(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        let stream = hyper_util::rt::TokioIo::new(stream);
        tokio::spawn(async move { http1::Builder::new().serve_connection(stream, service_fn(hello)).await });
    }
}

fn main() {
    let port = std::env::args().nth(1).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(serve(port));
}
