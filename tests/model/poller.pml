/* SPDX-License-Identifier: Apache-2.0

   Who waits in the kernel: workers, the I/O thread below them, one epoll set (io/epoll_driver.hpp), with the idle protocol around it
   (scheduler/idle.hpp, whose memory orders are checked by idle_model.cpp; here memory is sequentially consistent).

   The kernel may wake any waiter: the order in which epoll does it is a matter of cost. Tasks may never return (HOGS). Checked:
     when nothing can move, every event has been harvested, even if every worker is stuck in a task       INV-IO-1
     then no task is left while a worker is free                                                          INV-IDLE-1
     at most one worker waits in epoll                                                                    INV-IDLE-5
     a kick is not lost: no worker that was claimed sleeps on                                             INV-IO-2
   Run by poller_check.py, with the sizes and the mutants that it names:
     FREE_ON_KICK    the waker frees the role when it kicks: another worker takes it, and swallows the kick
     CANCEL_SILENT   who sees work on its second look gives the role up without telling the driver
     CANCEL_UNCOUNTED  who sees work on its second look goes on without being counted as a watcher
     RELEASE_SILENT  who comes back from epoll gives the role up without telling the driver
     LATE_CONSUME    the kick is consumed after the role was given up: it may be the successor's
     IO_CONSUMES     the I/O thread consumes a kick
     ONE_LOOK        the I/O thread goes deep without a second look at the role
     NO_SECOND_LOOK  a worker sleeps without a second look at the queues
     RISE_BLIND      a worker that rises waits for a claim that another one has taken
*/
#ifndef EVENTS
#define EVENTS 2
#endif
#ifndef POSTS
#define POSTS 0
#endif
#ifndef HOGS
#define HOGS 0
#endif
#ifndef NAPS
#define NAPS 0
#endif
#define NW 2
#define IO NW

mtype = { awake, asleep, polling, napping };   /* a worker's signal */
mtype = { in, deep, entering };                /* io_state; cool is a pause without consequences here */

byte ready = 0;              /* edges that nobody has fetched */
bool kick = 0;               /* the kick descriptor, a level */
bool waits[NW + 1];          /* sleeps in epoll's queue */
byte watching = 0, sleeping = 0;
mtype signal[NW] = awake;
byte role = 0;               /* worker + 1 */
mtype io_state = entering;
byte injected = 0, queue[NW], done = 0, hogs = HOGS, stuck = 0, naps = NAPS;

/* epoll: an edge or the level wakes somebody. */
inline wake_waiter() {
  if
  :: waits[0] -> waits[0] = 0
  :: waits[1] -> waits[1] = 0
  :: waits[IO] -> waits[IO] = 0
  :: !waits[0] && !waits[1] && !waits[IO] -> skip
  fi
}
/* may_return: a nap may end by itself. */
inline epoll(me, n, k, may_return) {
  assert(me == IO || !waits[1 - me]);   /* INV-IDLE-5 */
  do
  :: atomic { ready > 0 || kick ->
       n = ready; ready = 0; k = kick;
       if :: kick -> wake_waiter() :: else fi;   /* a level stays on the list */
       break }
  :: atomic { may_return -> n = 0; k = 0; break }
  :: atomic { !(ready > 0 || kick) && !may_return -> waits[me] = 1 }; (!waits[me])
  od
}

/* A sleeper has been counted off: it is found. */
inline claim(prefer) {
  if
  :: atomic { signal[0] == asleep -> signal[0] = awake }
  :: atomic { signal[1] == asleep -> signal[1] = awake }
  :: atomic { role != 0 && signal[role - 1] == polling && (prefer || (signal[0] != asleep && signal[1] != asleep)) ->
       signal[role - 1] = awake;
#ifdef FREE_ON_KICK
       role = 0
#endif
     }
     atomic { kick = 1; wake_waiter() }
  fi
}
inline wake_one(prefer) {
  if
  :: atomic { sleeping > 0 && watching == 0 -> sleeping--; watching++ }; claim(prefer)
  :: atomic { !(sleeping > 0 && watching == 0) }
  fi
}
inline notify_injected(prefer) {
  if
  :: atomic { watching == 0 }; wake_one(prefer)
  :: atomic { watching > 0 };
     if
     :: atomic { role != 0 && signal[role - 1] == napping -> signal[role - 1] = awake }; atomic { kick = 1; wake_waiter() }
     :: atomic { !(role != 0 && signal[role - 1] == napping) }
     fi
  fi
}
inline tell_driver() {
  if
  :: atomic { io_state == deep -> io_state = entering }
  :: atomic { io_state != deep }
  fi
}
#define queued (injected > 0 || queue[0] > 0 || queue[1] > 0)

inline stop_watching() {
  if
  :: mine -> mine = 0; role = 0;
#ifndef CANCEL_SILENT
     tell_driver()
#endif
  :: else
  fi;
  atomic { watching--; v = (watching == 0 && sleeping > 0) };
  if
  :: v && queued -> wake_one(0)
  :: else
  fi
}
/* Counted off by itself, or claimed by a waker, who counts it as a watcher. as: one watcher, or none. While all sleepers are counted off, either a waker
   is about to claim it, or another one that rises gives its claim back. */
inline rise(as, claimed) {
  if
#ifdef RISE_BLIND
  :: atomic { sleeping == 0 }; (signal[id] == awake); claimed = 1
#else
  :: atomic { sleeping == 0 && signal[id] == awake -> claimed = 1 }
#endif
  :: atomic { sleeping > 0 -> sleeping--; watching = watching + as };
     if
     :: atomic { signal[id] != awake -> signal[id] = awake }; claimed = 0
     :: atomic { signal[id] == awake -> sleeping++; watching = watching - as }; claimed = 1
     fi
  fi
}

proctype worker(byte id) {
  byte n = 0;
  bool k = 0, v = 0, mine = 0, claimed = 0, got;
running:
  n = 0; k = 0; v = 0; claimed = 0; got = 0;
  if
  :: atomic { queue[id] > 0 -> queue[id]--; got = 1 }
  :: atomic { queue[id] == 0 && injected > 0 -> injected--; got = 1 }
  :: atomic { queue[id] == 0 && injected == 0 }
  fi;
  if
  :: got -> goto work
  :: else -> watching++
  fi;
search:
  n = 0; k = 0; v = 0; claimed = 0; got = 0;
  atomic {
    if
    :: queue[id] > 0 -> queue[id]--; got = 1
    :: injected > 0 -> injected--; got = 1
    :: queue[1 - id] > 0 -> queue[1 - id]--; got = 1
    :: !queued
    fi
  };
  if
  :: got -> stop_watching(); goto work
  :: else
  fi;
  if
  :: !mine -> atomic { if :: role == 0 -> role = id + 1; mine = 1 :: else fi }
  :: else
  fi;
  if
  :: mine -> goto holds
  :: else
  fi;
  /* sleep on the futex */
  signal[id] = asleep;
  atomic { sleeping++; watching--; v = (watching == 0) };
#ifndef NO_SECOND_LOOK
  if
  :: v && queued -> rise(1, claimed); goto search
  :: else
  fi;
#endif
  (signal[id] == awake);
  goto search;

holds:
  if
  :: atomic { naps > 0 && !(sleeping == NW - 1) -> naps-- };   /* a nap, while another worker is active */
     signal[id] = napping;
     if
     :: injected > 0 -> signal[id] = awake; goto search
     :: else
     fi;
     epoll(id, n, k, 1);
     if :: k -> kick = 0 :: else fi;
     signal[id] = awake;
     if
     :: n > 0 -> mine = 0; role = 0; tell_driver(); queue[id] = queue[id] + n; stop_watching(); goto running
     :: else -> goto search
     fi
  :: skip
  fi;
  signal[id] = polling;
  atomic { sleeping++; watching--; v = (watching == 0) };
#ifndef NO_SECOND_LOOK
  if
  :: v && queued ->
#ifdef CANCEL_UNCOUNTED
     rise(0, claimed);
     if
     :: claimed -> goto search
     :: else -> mine = 0; role = 0; tell_driver(); goto running
     fi
#else
     rise(1, claimed); goto search
#endif
  :: else
  fi;
#endif
  do
  :: epoll(id, n, k, 0);
#ifdef LATE_CONSUME
     if :: n > 0 || k -> break :: else fi
#else
     if :: k -> kick = 0 :: else fi;   /* INV-IO-2: before the role is given up */
     if :: n > 0 || signal[id] != polling -> break :: else fi
#endif
  od;
#ifdef FREE_ON_KICK
  mine = (role == id + 1);
#endif
  if
  :: n == 0 -> rise(1, claimed);
#ifdef LATE_CONSUME
     mine = 0; role = 0; tell_driver(); kick = 0;
#endif
     goto search
  :: n > 0 -> rise(0, claimed)
  fi;
#ifdef FREE_ON_KICK
  if :: mine -> role = 0 :: else fi;
#else
  role = 0;
#endif
  mine = 0;
#ifndef RELEASE_SILENT
  tell_driver();
#endif
#ifdef LATE_CONSUME
  if :: k -> kick = 0 :: else fi;
#endif
  queue[id] = queue[id] + n;
  if
  :: claimed -> stop_watching()
  :: !claimed && n > 1 -> wake_one(0)
  :: else
  fi;
  goto running;

work:
  if
  :: atomic { hogs > 0 -> hogs--; stuck++; done++ };
     (false)
  :: done++
  fi;
  goto running
}

proctype io_thread() {
  byte n = 0;
  bool k = 0, held = 0;
loop:
  n = 0; k = 0;
  if
  :: role != 0 ->
     io_state = deep;
#ifndef ONE_LOOK
     if
     :: role != 0 ->
#endif
        (io_state != deep)
#ifndef ONE_LOOK
     :: else
     fi
#endif
  :: else
  fi;
  io_state = in;
  epoll(IO, n, k, 0);
#ifdef IO_CONSUMES
  if :: k -> kick = 0 :: else fi;
#endif
  held = (role != 0);
  if
  :: n > 0 -> injected = injected + n; notify_injected(held)
  :: else
  fi;
  (ready > 0 || role != 0 || !kick);   /* a kick that nobody consumes: it ticks every `bound`, without effect */
  goto loop
}

proctype network() {
  byte i = 0;
  do
  :: i < EVENTS -> atomic { ready++; wake_waiter(); i++ }
  :: else -> break
  od
}
proctype poster() {
  byte i = 0;
  do
  :: i < POSTS -> atomic { injected++; i++ }; notify_injected(0)
  :: else -> break
  od
}

init {
  atomic { run worker(0); run worker(1); run io_thread(); run network(); run poster() }
  timeout ->
  assert(ready == 0);
  assert(stuck == NW || (!queued && done == EVENTS + POSTS));
  assert(stuck == NW || sleeping + stuck == NW)   /* whoever was claimed has risen */
}
