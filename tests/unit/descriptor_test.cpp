// SPDX-License-Identifier: Apache-2.0
// Unit: a descriptor's word, step by step, and the table; what happens concurrently is in tests/model/descriptor_model.cpp.
#include "io/descriptor.hpp"
#include "io/epoll_driver.hpp"
#include "skua/net.hpp"
#include "tests/support/allocation_count.hpp"
#include <fcntl.h>
#include <gtest/gtest.h>
#include <new>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

namespace {

using skua::detail::descriptor;
using skua::detail::direction;
using core = skua::detail::descriptor_core<skua::detail::real_sync>;
constexpr direction reading = direction::read, writing = direction::write;
using claimed = core::claimed;
using duty = core::duty;
using waiting = core::waiting;
using transfer = core::transfer;

class DescriptorWord : public testing::Test {
protected:
  void SetUp() override { d.renew(); }
  core d;
  core::operation reader, writer;
  core::word seen = 0;
  std::uint32_t generation() const { return d.generation(); }
  void claim(direction dir) { ASSERT_EQ(d.claim(dir, generation(), seen), claimed::yes); }
};

TEST_F(DescriptorWord, is_worth_trying_in_the_beginning) {
  EXPECT_TRUE(core::worth_trying(d.look(), reading));
  EXPECT_TRUE(core::worth_trying(d.look(), writing));
}

TEST_F(DescriptorWord, has_one_user_a_direction) {
  claim(reading);
  EXPECT_EQ(d.claim(reading, generation(), seen), claimed::occupied);
  claim(writing);
  EXPECT_EQ(d.finish(reading, seen, transfer::full), duty::nothing);
  claim(reading);
}

TEST_F(DescriptorWord, a_short_transfer_and_eagain_clear_readiness_and_a_full_one_does_not) {
  for (auto const& [last, tried_again] : {std::pair(transfer::full, true), std::pair(transfer::partial, false), std::pair(transfer::blocked, false)}) {
    ASSERT_TRUE(d.close_if_unused());
    d.renew();
    claim(reading);
    (void)d.finish(reading, seen, last);
    EXPECT_EQ(core::worth_trying(d.look(), reading), tried_again);
    EXPECT_TRUE(core::worth_trying(d.look(), writing));
  }
}

TEST_F(DescriptorWord, an_event_during_a_transfer_keeps_readiness) {
  claim(reading);
  (void)d.event(generation(), core::ready(reading));
  (void)d.finish(reading, seen, transfer::partial);
  EXPECT_TRUE(core::worth_trying(d.look(), reading));
}

TEST_F(DescriptorWord, the_end_survives_a_short_transfer) {
  (void)d.event(generation(), core::ready(reading) | core::end(reading));
  claim(reading);
  (void)d.finish(reading, seen, transfer::partial);
  EXPECT_TRUE(core::worth_trying(d.look(), reading));
  claim(reading);
  (void)d.finish(reading, seen, transfer::blocked);
  EXPECT_FALSE(core::worth_trying(d.look(), reading));
}

TEST_F(DescriptorWord, an_event_takes_who_waits_for_it_and_nobody_else) {
  claim(reading);
  EXPECT_EQ(d.wait(reading, seen, reader), waiting::published);
  claim(writing);
  EXPECT_EQ(d.wait(writing, seen, writer), waiting::published);
  auto t = d.event(generation(), core::ready(writing));
  EXPECT_EQ(t.reader, nullptr);
  EXPECT_EQ(t.writer, &writer);
  t = d.event(generation(), core::end(reading) | core::end(writing));
  EXPECT_EQ(t.reader, &reader);
  EXPECT_EQ(t.writer, nullptr);   // taken before
}

TEST_F(DescriptorWord, an_event_between_eagain_and_wait_is_not_lost) {
  claim(reading);
  (void)d.event(generation(), core::ready(reading));
  EXPECT_EQ(d.wait(reading, seen, reader), waiting::again);
  seen = d.look();
  EXPECT_EQ(d.wait(reading, seen, reader), waiting::published);   // tried again, in vain
}

TEST_F(DescriptorWord, an_event_of_the_other_direction_is_no_reason_to_try_again) {
  claim(reading);
  (void)d.finish(reading, seen, transfer::blocked);
  claim(reading);
  (void)d.event(generation(), core::ready(writing));
  EXPECT_EQ(d.wait(reading, seen, reader), waiting::published);
}

TEST_F(DescriptorWord, what_was_withdrawn_is_not_found) {
  claim(reading);
  (void)d.wait(reading, seen, reader);
  EXPECT_TRUE(d.withdraw(reading));
  EXPECT_FALSE(d.withdraw(reading));
  EXPECT_EQ(d.event(generation(), core::ready(reading)).reader, nullptr);
}

TEST_F(DescriptorWord, close_takes_who_waits_and_the_last_user_releases_the_number) {
  claim(reading);
  (void)d.wait(reading, seen, reader);
  claim(writing);
  auto const t = d.close();
  EXPECT_EQ(t.reader, &reader);
  EXPECT_EQ(t.writer, nullptr);
  EXPECT_EQ(t.then, duty::nothing);
  EXPECT_EQ(d.wait(writing, seen, writer), waiting::closed);
  EXPECT_EQ(d.finish(writing, seen, transfer::full), duty::nothing);
  EXPECT_EQ(d.claim(writing, generation(), seen), claimed::closed);
  EXPECT_EQ(d.finish(reading, seen, transfer::full), duty::release);
}

TEST_F(DescriptorWord, close_releases_the_number_of_an_idle_descriptor) { EXPECT_EQ(d.close().then, duty::release); }

TEST_F(DescriptorWord, is_released_to_the_outside_only_when_idle) {
  claim(writing);
  EXPECT_FALSE(d.close_if_unused());
  (void)d.finish(writing, seen, transfer::full);
  EXPECT_TRUE(d.close_if_unused());
  EXPECT_FALSE(d.close_if_unused());
}

TEST_F(DescriptorWord, an_earlier_generation_changes_nothing) {
  std::uint32_t const old = generation();
  (void)d.close();
  d.renew();
  claim(reading);
  (void)d.wait(reading, seen, reader);
  core::word const before = d.look();
  EXPECT_EQ(d.event(old, core::ready(reading)).reader, nullptr);
  EXPECT_EQ(d.look(), before);
  EXPECT_EQ(d.claim(writing, old, seen), claimed::closed);
}

TEST_F(DescriptorWord, ticks_and_generations_wrap) {
  std::uint32_t const first = generation();
  for (int i = 0; i != (1 << 24) + 5; ++i) (void)d.event(first, core::ready(writing));
  EXPECT_EQ(generation(), first);   // no carry
  for (int i = 0; i != 1 << 24; ++i) {
    (void)d.close();
    d.renew();
  }
  EXPECT_EQ(generation(), first);
}

// ------------------------------------------------------------------------------------------------ the table

int new_number() { return ::open("/dev/null", O_RDONLY | O_CLOEXEC); }

TEST(DescriptorTable, descriptors_of_closed_numbers_are_used_again_under_another_generation) {
  descriptor& a = skua::detail::open_descriptor(new_number());
  std::uint64_t const data = a.epoll_data();
  skua::detail::close_descriptor(a);
  descriptor& b = skua::detail::open_descriptor(new_number());
  EXPECT_EQ(&a, &b);
  EXPECT_NE(b.epoll_data(), data);
  skua::detail::close_descriptor(b);
}

TEST(DescriptorTable, a_late_event_of_a_closed_descriptor_reaches_nobody) {
  descriptor& a = skua::detail::open_descriptor(new_number());
  std::uint64_t const data = a.epoll_data();
  skua::detail::close_descriptor(a);
  skua::detail::epoll_driver driver({});
  skua::detail::ready_list out;
  skua::detail::deliver_event(driver, data, EPOLLIN, out);   // to the memory of a closed one
  descriptor& b = skua::detail::open_descriptor(new_number());
  core::word seen = 0;
  ASSERT_EQ(b.claim(reading, b.generation(), seen), claimed::yes);
  core::operation op;
  ASSERT_EQ(b.wait(reading, seen, op), waiting::published);
  skua::detail::deliver_event(driver, data, EPOLLIN | EPOLLHUP | EPOLLERR, out);
  EXPECT_EQ(out.size(), 0u);
  EXPECT_TRUE(b.withdraw(reading));
  (void)b.finish(reading, seen, transfer::full);
  skua::detail::close_descriptor(b);
}

TEST(DescriptorTable, shutting_reaches_no_other_descriptor_than_its_own) {
  descriptor& a = skua::detail::open_descriptor(new_number());
  std::uint32_t const generation = a.generation();
  EXPECT_FALSE(skua::detail::is_shut_for_reading(a, generation));
  skua::detail::shut_for_reading(a, generation);
  EXPECT_TRUE(skua::detail::is_shut_for_reading(a, generation));
  skua::detail::close_descriptor(a);
  skua::detail::shut_for_reading(a, generation);   // closed
  descriptor& b = skua::detail::open_descriptor(new_number());
  ASSERT_EQ(&a, &b);
  skua::detail::shut_for_reading(b, generation);   // another one lives there
  EXPECT_FALSE(skua::detail::is_shut_for_reading(b, b.generation()));
  skua::detail::close_descriptor(b);
}

TEST(DescriptorTable, grows_and_counts) {
  std::uint64_t const before = skua::detail::open_descriptors();
  std::vector<descriptor*> all;
  for (int i = 0; i != 700; ++i) all.push_back(&skua::detail::open_descriptor(new_number()));
  EXPECT_EQ(skua::detail::open_descriptors(), before + 700);
  for (std::size_t i = 1; i != all.size(); ++i) EXPECT_NE(all[i]->index, all[i - 1]->index);
  for (descriptor* d : all) skua::detail::close_descriptor(*d);
  EXPECT_EQ(skua::detail::open_descriptors(), before);
}

// As with every other error of adopt().
TEST(DescriptorTable, what_is_adopted_without_memory_stays_the_callers) {
  SKIP_UNLESS_ALLOCATIONS_ARE_COUNTED();
  int const tcp = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), udp = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0),
            local = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), listening = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
            local_listening = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_EQ(::listen(listening, 1), 0);
  sa_family_t const abstract = AF_UNIX;   // a name that the kernel chooses
  ASSERT_EQ(::bind(local_listening, reinterpret_cast<sockaddr const*>(&abstract), sizeof abstract), 0);
  ASSERT_EQ(::listen(local_listening, 1), 0);
  std::vector<descriptor*> all;
  all.reserve(1 << 20);
  {
    skua_test::without_memory const w;
    EXPECT_THROW(for (;;) all.push_back(&skua::detail::open_descriptor(-1)), std::bad_alloc);   // all that the table has left
    EXPECT_THROW((void)skua::tcp_stream::adopt(tcp), std::bad_alloc);
    EXPECT_THROW((void)skua::tcp_listener::adopt(listening), std::bad_alloc);
    EXPECT_THROW((void)skua::udp_socket::adopt(udp), std::bad_alloc);
    EXPECT_THROW((void)skua::unix_stream::adopt(local), std::bad_alloc);
    EXPECT_THROW((void)skua::unix_listener::adopt(local_listening), std::bad_alloc);
  }
  for (descriptor* d : all) skua::detail::close_descriptor(*d);
  for (int fd : {tcp, udp, local, listening, local_listening}) EXPECT_EQ(::close(fd), 0);
}

} // namespace
