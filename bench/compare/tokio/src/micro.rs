// SPDX-License-Identifier: Apache-2.0
// Micro-workloads on Tokio's multi-thread runtime, 2 workers.
// usage: micro WORKLOAD
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot, Mutex};
use tokio::task::yield_now;

fn usage() -> (f64, i64) {
    unsafe {
        let mut u: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &mut u);
        let t = |v: libc::timeval| v.tv_sec as f64 + v.tv_usec as f64 / 1e6;
        (t(u.ru_utime) + t(u.ru_stime), u.ru_maxrss)
    }
}

fn report(name: &str, ops: u64, wall: Duration, cpu: f64) {
    println!(
        "{name} ns_per_op={:.1} wall_s={:.3} cpu_s={:.3} cpu_ns_per_op={:.1} rss_mib={:.1}",
        wall.as_nanos() as f64 / ops as f64,
        wall.as_secs_f64(),
        cpu,
        cpu * 1e9 / ops as f64,
        usage().1 as f64 / 1024.0
    );
}

async fn spawn_join(n: u64) {
    let mut hs = Vec::with_capacity(n as usize);
    for i in 0..n {
        hs.push(tokio::spawn(async move { i }));
    }
    let mut sum = 0u64;
    for h in hs {
        sum += h.await.unwrap();
    }
    assert_eq!(sum, n * (n - 1) / 2);
}

async fn yields(tasks: u64, n: u64) {
    let hs: Vec<_> = (0..tasks)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..n {
                    yield_now().await;
                }
            })
        })
        .collect();
    for h in hs {
        h.await.unwrap();
    }
}

async fn pingpong_chan(n: u64) {
    let (atx, mut arx) = mpsc::channel::<u64>(1);
    let (btx, mut brx) = mpsc::channel::<u64>(1);
    let b = tokio::spawn(async move {
        while let Some(v) = arx.recv().await {
            btx.send(v + 1).await.unwrap();
        }
    });
    let a = tokio::spawn(async move {
        for i in 0..n {
            atx.send(i).await.unwrap();
            assert_eq!(brx.recv().await, Some(i + 1));
        }
    });
    a.await.unwrap();
    b.await.unwrap();
}

// Request/response: the request carries the oneshot its reply goes to.
async fn rpc_oneshot(n: u64) {
    let (tx, mut rx) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(1);
    let b = tokio::spawn(async move {
        while let Some((v, r)) = rx.recv().await {
            r.send(v + 1).unwrap();
        }
    });
    let a = tokio::spawn(async move {
        for i in 0..n {
            let (otx, orx) = oneshot::channel();
            tx.send((i, otx)).await.unwrap();
            assert_eq!(orx.await.unwrap(), i + 1);
        }
    });
    a.await.unwrap();
    b.await.unwrap();
}

// Two tasks, all oneshots made beforehand: only send + wake + receive is timed.
async fn pingpong_oneshot(n: u64) -> (Duration, f64) {
    let mut a = Vec::new();
    let mut b = Vec::new();
    for _ in 0..n {
        let (tx1, rx1) = oneshot::channel::<u64>();
        let (tx2, rx2) = oneshot::channel::<u64>();
        a.push((tx1, rx2));
        b.push((rx1, tx2));
    }
    let t0 = Instant::now();
    let c0 = usage().0;
    let hb = tokio::spawn(async move {
        for (rx, tx) in b {
            let v = rx.await.unwrap();
            tx.send(v + 1).unwrap();
        }
    });
    let ha = tokio::spawn(async move {
        for (i, (tx, rx)) in a.into_iter().enumerate() {
            tx.send(i as u64).unwrap();
            assert_eq!(rx.await.unwrap(), i as u64 + 1);
        }
    });
    ha.await.unwrap();
    hb.await.unwrap();
    (t0.elapsed(), usage().0 - c0)
}

async fn mpsc8(total: u64) {
    let (tx, mut rx) = mpsc::channel::<u64>(1024);
    let each = total / 8;
    for _ in 0..8 {
        let tx = tx.clone();
        tokio::spawn(async move {
            for i in 0..each {
                tx.send(i).await.unwrap();
            }
        });
    }
    drop(tx);
    let mut n = 0u64;
    let mut sum = 0u64;
    while let Some(v) = rx.recv().await {
        n += 1;
        sum += v;
    }
    assert_eq!(n, each * 8);
    assert_eq!(sum, 8 * (each * (each - 1) / 2));
}

async fn mutex(tasks: u64, n: u64, hold: bool) {
    let m = Arc::new(Mutex::new(0u64));
    let hs: Vec<_> = (0..tasks)
        .map(|_| {
            let m = m.clone();
            tokio::spawn(async move {
                for _ in 0..n {
                    let mut g = m.lock().await;
                    *g += 1;
                    if hold {
                        yield_now().await;
                    }
                }
            })
        })
        .collect();
    for h in hs {
        h.await.unwrap();
    }
    assert_eq!(*m.lock().await, tasks * n);
}

async fn sleepers(n: u64) {
    let hs: Vec<_> = (0..n)
        .map(|_| tokio::spawn(tokio::time::sleep(Duration::from_secs(10))))
        .collect();
    for h in hs {
        h.await.unwrap();
    }
}

async fn churn(tasks: u64, n: u64) {
    let hs: Vec<_> = (0..tasks)
        .map(|_| {
            tokio::spawn(async move {
                for _ in 0..n {
                    tokio::time::timeout(Duration::from_secs(1), yield_now())
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for h in hs {
        h.await.unwrap();
    }
}

async fn accuracy() {
    let hs: Vec<_> = (0..1000)
        .map(|_| {
            tokio::spawn(async move {
                let mut v = Vec::with_capacity(100);
                for _ in 0..100 {
                    let t = Instant::now();
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    v.push(t.elapsed().as_nanos() as i64 - 10_000_000);
                }
                v
            })
        })
        .collect();
    let mut all = Vec::new();
    for h in hs {
        all.extend(h.await.unwrap());
    }
    all.sort();
    let q = |p: f64| all[((all.len() - 1) as f64 * p) as usize] as f64 / 1e3;
    println!(
        "accuracy lateness_us min={:.0} p50={:.0} p99={:.0} max={:.0} cpu_s={:.3}",
        q(0.0),
        q(0.5),
        q(0.99),
        q(1.0),
        usage().0
    );
}

async fn run(w: String) {
    let t0 = Instant::now();
    let c0 = usage().0;
    let done = |ops: u64| report(&w, ops, t0.elapsed(), usage().0 - c0);
    match w.as_str() {
        "spawn_join" => {
            spawn_join(2_000_000).await;
            done(2_000_000)
        }
        "spawn_join_batch" => {
            for _ in 0..2000 {
                spawn_join(1000).await;
            }
            done(2_000_000)
        }
        "spawn_join_seq" => {
            for i in 0..1_000_000u64 {
                assert_eq!(tokio::spawn(async move { i }).await.unwrap(), i);
            }
            done(1_000_000)
        }
        "yield" => {
            yields(1000, 1000).await;
            done(1_000_000)
        }
        "pingpong_chan" => {
            pingpong_chan(1_000_000).await;
            done(1_000_000)
        }
        "rpc_oneshot" => {
            rpc_oneshot(1_000_000).await;
            done(1_000_000)
        }
        "pingpong_oneshot" => {
            let (d, c) = pingpong_oneshot(1_000_000).await;
            report(&w, 1_000_000, d, c)
        }
        "mpsc" => {
            mpsc8(10_000_000).await;
            done(10_000_000)
        }
        "mutex" => {
            mutex(16, 200_000, false).await;
            done(3_200_000)
        }
        "mutex_hold" => {
            mutex(16, 50_000, true).await;
            done(800_000)
        }
        "sleepers" => {
            sleepers(1_000_000).await;
            let (cpu, rss) = usage();
            println!(
                "sleepers over_10s={:.3} cpu_s={:.3} bytes_per_task={:.0}",
                t0.elapsed().as_secs_f64() - 10.0,
                cpu,
                rss as f64 * 1024.0 / 1e6
            );
        }
        "churn" => {
            churn(100_000, 20).await;
            done(2_000_000)
        }
        "accuracy" => accuracy().await,
        _ => panic!("unknown workload"),
    }
}

fn main() {
    let w = std::env::args().nth(1).expect("workload");
    let rt = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    // The root task runs on a worker too, not on the blocked main thread.
    rt.block_on(async move { tokio::spawn(run(w)).await.unwrap() });
}
