// SPDX-License-Identifier: Apache-2.0
// Micro-workloads in Go, GOMAXPROCS=2. usage: micro WORKLOAD
package main

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"sort"
	"sync"
	"syscall"
	"time"
)

func usage() (float64, int64) {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	t := func(v syscall.Timeval) float64 { return float64(v.Sec) + float64(v.Usec)/1e6 }
	return t(u.Utime) + t(u.Stime), u.Maxrss
}

func spawnJoin(n int) {
	res := make([]int, n)
	var wg sync.WaitGroup
	wg.Add(n)
	for i := 0; i < n; i++ {
		go func(i int) {
			res[i] = i
			wg.Done()
		}(i)
	}
	wg.Wait()
	sum := 0
	for _, v := range res {
		sum += v
	}
	if sum != n*(n-1)/2 {
		panic("sum")
	}
}

func group(tasks int, f func()) {
	var wg sync.WaitGroup
	wg.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			f()
			wg.Done()
		}()
	}
	wg.Wait()
}

func pingpong(n int, capacity int) {
	a := make(chan int, capacity)
	b := make(chan int, capacity)
	var wg sync.WaitGroup
	wg.Add(2)
	go func() {
		for v := range a {
			b <- v + 1
		}
		wg.Done()
	}()
	go func() {
		for i := 0; i < n; i++ {
			a <- i
			if <-b != i+1 {
				panic("order")
			}
		}
		close(a)
		wg.Done()
	}()
	wg.Wait()
}

type req struct {
	v int
	r chan int
}

func rpcOneshot(n int) {
	c := make(chan req, 1)
	var wg sync.WaitGroup
	wg.Add(2)
	go func() {
		for q := range c {
			q.r <- q.v + 1
		}
		wg.Done()
	}()
	go func() {
		for i := 0; i < n; i++ {
			r := make(chan int, 1)
			c <- req{i, r}
			if <-r != i+1 {
				panic("order")
			}
		}
		close(c)
		wg.Done()
	}()
	wg.Wait()
}

func pingpongOneshot(n int) (time.Duration, float64) {
	a := make([]chan int, n)
	b := make([]chan int, n)
	for i := range a {
		a[i] = make(chan int, 1)
		b[i] = make(chan int, 1)
	}
	t0 := time.Now()
	c0, _ := usage()
	var wg sync.WaitGroup
	wg.Add(2)
	go func() {
		for i := range a {
			b[i] <- <-a[i] + 1
		}
		wg.Done()
	}()
	go func() {
		for i := range a {
			a[i] <- i
			if <-b[i] != i+1 {
				panic("order")
			}
		}
		wg.Done()
	}()
	wg.Wait()
	c1, _ := usage()
	return time.Since(t0), c1 - c0
}

func mpsc(total int) {
	c := make(chan int, 1024)
	each := total / 8
	go func() {
		group(8, func() {
			for i := 0; i < each; i++ {
				c <- i
			}
		})
		close(c)
	}()
	n, sum := 0, 0
	for v := range c {
		n++
		sum += v
	}
	if n != each*8 || sum != 8*(each*(each-1)/2) {
		panic("count")
	}
}

func mutex(tasks, n int, hold bool) {
	var m sync.Mutex
	x := 0
	group(tasks, func() {
		for i := 0; i < n; i++ {
			m.Lock()
			x++
			if hold {
				runtime.Gosched()
			}
			m.Unlock()
		}
	})
	if x != tasks*n {
		panic("count")
	}
}

func accuracy() {
	var mu sync.Mutex
	var all []int64
	group(1000, func() {
		v := make([]int64, 0, 100)
		for i := 0; i < 100; i++ {
			t := time.Now()
			time.Sleep(10 * time.Millisecond)
			v = append(v, int64(time.Since(t))-10_000_000)
		}
		mu.Lock()
		all = append(all, v...)
		mu.Unlock()
	})
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	q := func(p float64) float64 { return float64(all[int(float64(len(all)-1)*p)]) / 1e3 }
	cpu, _ := usage()
	fmt.Printf("accuracy lateness_us min=%.0f p50=%.0f p99=%.0f max=%.0f cpu_s=%.3f\n", q(0), q(0.5), q(0.99), q(1), cpu)
}

func main() {
	runtime.GOMAXPROCS(2)
	w := os.Args[1]
	t0 := time.Now()
	c0, _ := usage()
	reportD := func(ops int, d time.Duration, c float64) {
		_, rss := usage()
		fmt.Printf("%s ns_per_op=%.1f wall_s=%.3f cpu_s=%.3f cpu_ns_per_op=%.1f rss_mib=%.1f\n", w,
			float64(d)/float64(ops), d.Seconds(), c, c*1e9/float64(ops), float64(rss)/1024)
	}
	done := func(ops int) {
		d := time.Since(t0)
		c1, _ := usage()
		reportD(ops, d, c1-c0)
	}
	switch w {
	case "spawn_join":
		spawnJoin(2_000_000)
		done(2_000_000)
	case "spawn_join_batch":
		for i := 0; i < 2000; i++ {
			spawnJoin(1000)
		}
		done(2_000_000)
	case "spawn_join_seq":
		for i := 0; i < 1_000_000; i++ {
			spawnJoin(1)
		}
		done(1_000_000)
	case "yield":
		group(1000, func() {
			for i := 0; i < 1000; i++ {
				runtime.Gosched()
			}
		})
		done(1_000_000)
	case "pingpong_chan":
		pingpong(1_000_000, 1)
		done(1_000_000)
	case "pingpong_unbuf":
		pingpong(1_000_000, 0)
		done(1_000_000)
	case "rpc_oneshot":
		rpcOneshot(1_000_000)
		done(1_000_000)
	case "pingpong_oneshot":
		d, c := pingpongOneshot(1_000_000)
		reportD(1_000_000, d, c)
	case "mpsc":
		mpsc(10_000_000)
		done(10_000_000)
	case "mutex":
		mutex(16, 200_000, false)
		done(3_200_000)
	case "mutex_hold":
		mutex(16, 50_000, true)
		done(800_000)
	case "sleepers":
		group(1_000_000, func() { time.Sleep(10 * time.Second) })
		d := time.Since(t0)
		cpu, rss := usage()
		fmt.Printf("sleepers over_10s=%.3f cpu_s=%.3f bytes_per_task=%.0f\n", d.Seconds()-10, cpu, float64(rss)*1024/1e6)
	case "churn": // a reusable idiom: NewTimer, do the operation, Stop
		group(100_000, func() {
			for i := 0; i < 20; i++ {
				t := time.NewTimer(time.Second)
				runtime.Gosched()
				if !t.Stop() {
					panic("expired")
				}
			}
		})
		done(2_000_000)
	case "churn_ctx": // the usual server idiom: context.WithTimeout
		group(100_000, func() {
			for i := 0; i < 20; i++ {
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				runtime.Gosched()
				_ = ctx.Err()
				cancel()
			}
		})
		done(2_000_000)
	case "accuracy":
		accuracy()
	default:
		panic("unknown workload")
	}
}
