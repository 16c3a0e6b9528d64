// SPDX-License-Identifier: Apache-2.0
// The public face of a runtime: construction, spawning from outside, blocking calls. shutdown.cpp ends it.
#include "skua/runtime.hpp"
#include "scheduler/cpu_count.hpp"
#include "scheduler/failure.hpp"
#include "scheduler/runtime_core.hpp"
#include "skua/detail/fork_guard.hpp"
#include "skua/detail/failure_report.hpp"
#include "skua/error.hpp"
#include <string>

namespace skua {

namespace detail {

namespace {

options checked(options const& o) {
  options merged = with_environment(o);
  validate(merged);
  if (merged.workers == 0) merged.workers = usable_cpus();
  return merged;
}

} // namespace

runtime_core::runtime_core(options const& o)
    : scheduler({.workers = o.workers, .name = o.name, .index = value()}),
      options_(o),
      driver_(make_driver(o)),
      blocking_(o, [this] { driver_->note_rest(); }, [this] { lend_clock(); }),
      files_(make_file_engine(o, blocking_, *driver_)),
      outside_(std::make_shared<outside_count>(*driver_)) {
  start(*driver_);
  announce(*this);   // no task exists before
}

runtime_core::~runtime_core() {
  shutdown_report const late = shutdown_within(options_.shutdown_grace);
  for (survivor const& s : late.survivors)
    std::fprintf(stderr, "skua: shutdown still waits for task %llu '%s' (spawned at %s:%u), which waits for: %s\n",
                 static_cast<unsigned long long>(s.id), s.name.c_str(), s.spawned_at.file_name(), s.spawned_at.line(),
                 s.waits_for.c_str());
  for (unfinished_work const& w : late.blocking)
    std::fprintf(stderr, "skua: shutdown still waits for blocking work of task %llu '%s' (spawned at %s:%u), which runs for %lld ms%s\n",
                 static_cast<unsigned long long>(w.task_id), w.task_name.c_str(), w.spawned_at.file_name(), w.spawned_at.line(),
                 static_cast<long long>(std::chrono::duration_cast<std::chrono::milliseconds>(w.running_for).count()), w.abandoned ? ", abandoned" : "");
  // Not by the list: a task that was spawned while it was made may be in no list.
  while (!quiescent()) (void)shutdown_within(std::chrono::hours(24 * 365));
  retire();
  outside_->runtime_ends();
  stop();
  blocking_.stop();
}

namespace {

// A task that is refused is destroyed on the caller's thread.
void destroy_unstarted(task_header& h) noexcept {
  handle_of(h.promise()->frame()).destroy();
  h.outcome = task_header::stopped;
  if (h.kind->drop_call != nullptr) h.kind->drop_call(&h);
  h.kind->destroy(&h);
}

} // namespace

void runtime_core::start_from_outside(task_header& h) {
  try {
    check_not_forked();
  } catch (...) {
    destroy_unstarted(h);
    throw;
  }
  entering_.fetch_add(1, std::memory_order_seq_cst);   // INV-SHUTDOWN-2
  bool const accepted = accepting_.load(std::memory_order_seq_cst);
  if (accepted) count_outside_spawn();
  entering_.fetch_sub(1, std::memory_order_seq_cst);
  if (!accepted) {
    destroy_unstarted(h);
    throw usage_error("skua: the runtime is shutting down and takes no more tasks");
  }
  item const x = reinterpret_cast<item>(&h) | kind::spawned;
  inject_items(&x, 1, false);
}

skua::metrics runtime_core::measure() noexcept {
  skua::metrics m;
  collect(m);
  m.failures_unhandled = failures_.load(std::memory_order_relaxed);
  m.backend = driver_->name();
  return m;
}

void runtime_core::deliver(failure_report const& r) noexcept {
  failures_.fetch_add(1, std::memory_order_relaxed);
  deliver_failure(options_, to_failure(r));
}

// ---------------------------------------------------------------------------------------------- doors

void report_failure(scheduler& s, failure_report const& r) noexcept { core_of(s).deliver(r); }
blocking_pool& blocking_of(scheduler& s) noexcept { return core_of(s).blocking(); }
file_engine& files_of(scheduler& s) noexcept { return core_of(s).files(); }

std::uint16_t index_of(runtime_core& c) noexcept { return c.index(); }
void start_from_outside(runtime_core& c, task_header& h) { c.start_from_outside(h); }
void check_may_block(char const* what) {
  check_not_forked();
  if (tl.words != nullptr)
    throw usage_error(std::string("skua: ") + what + " would block a worker of a runtime; await instead");
}

} // namespace detail

runtime::runtime(options const& o) {
  detail::check_may_block("a runtime inside a task");
  core_ = std::make_unique<detail::runtime_core>(detail::checked(o));
}

runtime::~runtime() {
  SKUA_CHECK(detail::tl.words == nullptr, "a skua::runtime must not be destroyed on a worker");
  SKUA_CHECK(detail::scheduler::lender() != core_.get(), "a skua::runtime must not be destroyed on a blocking thread of its own");
}

void runtime::request_stop() noexcept { core_->stop_all_tasks(); }
shutdown_report runtime::shutdown_within(std::chrono::nanoseconds limit) {
  detail::check_may_block("runtime::shutdown");
  if (detail::scheduler::lender() == core_.get()) throw usage_error("skua: runtime::shutdown would wait for the blocking work that calls it");
  return core_->shutdown_within(limit);
}
clock::time_point runtime::now() const noexcept { return clock::at_ns(core_->now_ns()); }
struct metrics runtime::metrics() const { return core_->measure(); }
unsigned runtime::workers() const noexcept { return core_->worker_count(); }
std::string_view runtime::backend() const noexcept { return core_->used_driver().name(); }
std::string_view runtime::file_backend() const noexcept { return core_->files().name(); }
void runtime::dump(std::ostream& out) const { core_->dump(out); }

} // namespace skua
