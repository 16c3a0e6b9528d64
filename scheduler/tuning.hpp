// SPDX-License-Identifier: Apache-2.0
// The scheduler's tuning constants, each with where its value comes from.
//
// "spawn spike": measured by the bench of the prototype in docs/decisions (choosy thieves), on 2 vCPUs of an AMD EPYC under KVM, where waking an
// idle core costs 29 us of CPU; the same values were tried on a Xeon. bench/two_workers repeats those workloads.
#pragma once
#include <cstddef>
#include <cstdint>

namespace skua::detail::tuning {

// ------------------------------------------------------------------------------------------------ the worker loop

// Items that run one after the other before the loop looks at injected work, timers and its oldest item. Tokio's and Go's figure; not
// measured here.
inline constexpr std::uint32_t run_budget = 61;
// Operations that may complete without suspending before the task yields. Tokio's figure; not measured here.
inline constexpr std::uint32_t operation_budget = 128;
// Injected items that a worker takes at once. A guess: one cache line's worth of lines to chase, less than a ready_list.
inline constexpr std::uint32_t injection_share = 32;

// ------------------------------------------------------------------------------------------------ timers (timers.cpp)

// A cascade is bounded each time that it has the lock (timer_wheel.hpp): 1 to 5 us. While nothing fires it goes on so often before the caller looks
// at other things. A guess.
inline constexpr unsigned more_cascades = 8;
// So many tasks that timers have made runnable at once keep a worker busy for a while. A guess: half of run_budget.
inline constexpr std::size_t timer_crowd = 32;

// ------------------------------------------------------------------------------------------------ watching (stealing.cpp, parking.cpp)

// Between two looks at the others. spawn spike: a look costs the owner two cache misses.
inline constexpr std::uint32_t look_pause_ns = 300;
// A worker that was woken looks for so long before it naps or sleeps. spawn spike.
inline constexpr std::uint32_t observe_us = 24;
// Most that stolen work earns for spinning. spawn spike: beyond it, tasks of 1 us gain nothing.
inline constexpr std::uint32_t most_credit_us = 50;
// A nap of the sentinel. spawn spike: it costs 16 to 27 us of CPU whatever its length; 50 us: CPU of trivial tasks x 1.38, 200 us: start behind
// a busy owner 146 us in place of 86.
inline constexpr std::uint32_t nap_us = 100;
// So long the sentinel looks between two naps. spawn spike.
inline constexpr std::uint32_t nap_look_us = 2;
// Naps without a sign of activity before the sentinel sleeps. spawn spike: fewer, and a pause of 100 us in the work costs a wake-up.
inline constexpr std::uint32_t quiet_naps = 2;

// ------------------------------------------------------------------------------------------------ the steal policy (steal_policy.hpp)

// An owner that shows no sign of life for so long is stuck. spawn spike: about the CPU of one nap.
inline constexpr std::uint32_t silent_us = 20;
// Shortest window in which a victim's rate is measured. spawn spike.
inline constexpr std::uint32_t window_us = 4;
// The oldest item of a fast owner is taken after so long. spawn spike: INV-WAIT there.
inline constexpr std::uint32_t starve_us = 200;
// An owner that needs less per item is left alone. spawn spike: taking one costs about ten times as much as running it.
inline constexpr std::uint32_t fast_item_ns = 200;
// Stolen items that took less, cold, were not worth it. spawn spike: one costs 100 to 300 ns to move.
inline constexpr std::uint32_t worth_item_ns = 350;
// One stolen item proves that its like are worth it only above this. spawn spike: a cold item takes 1 to 5 us, however small it is.
inline constexpr std::uint32_t proof_item_ns = 10'000;
// Or when the grant has grown to this: two batches were worth it. spawn spike.
inline constexpr std::uint32_t proof_grant = 16;
// What is taken must be worth so much work. spawn spike: below 2 us small fork-join trees are stolen at a loss.
inline constexpr std::uint32_t least_work_us = 2;
// A thief takes about so much work at once. spawn spike: 400 us (half of the queue) was no better, and worse for fork-join.
inline constexpr std::uint32_t target_work_us = 10;
// A crowd: so many items of a fast owner, for so long, that come back. `micro yield`, 1000 tasks: 5.3 ns in place of 9.3, `micro churn`, 100,000 tasks: 55 in
// place of 77, CPU time unchanged. 256 is a guess.
inline constexpr std::int64_t crowd_items = 256;
inline constexpr std::uint32_t crowd_us = 200;
// A batch of them was right if each came back so often. A guess: moving one costs about as much as ten turns.
inline constexpr std::uint64_t crowd_turns = 8;
// Races for the oldest item that a thief may lose to the owner at one steal. `micro churn`, ns an operation: 1: 60, 8: 56, 32: 54; `micro yield`: 5.2,
// 5.5, 5.8.
inline constexpr int crowd_races = 16;
// Pause after one that was wrong; doubles. A guess.
inline constexpr std::uint32_t first_crowd_pause_us = 1000, last_crowd_pause_us = 1'000'000;
// Pause between probes of a victim whose items proved too small; doubles. spawn spike.
inline constexpr std::uint32_t first_probe_us = 50, last_probe_us = 1600;
// Most that is taken at once. A guess: bounds a steal to a few microseconds.
inline constexpr std::uint32_t most_grant = 512;

// ------------------------------------------------------------------------------------------------ the monitor (monitor.cpp)

// While every worker is busy: how often somebody looks whether a local item waits behind one that does not return to the loop (S21). Doubles up to
// the second while nothing is queued. A guess: the target is at most 10 wake-ups in 2 s of one computing task.
inline constexpr std::uint64_t monitor_first_ns = 10'000'000, monitor_last_ns = 1'280'000'000;

} // namespace skua::detail::tuning
