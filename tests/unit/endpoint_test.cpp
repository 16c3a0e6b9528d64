// SPDX-License-Identifier: Apache-2.0
// Unit: endpoint.
#include "skua/endpoint.hpp"
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <stdexcept>
#include <unordered_set>

namespace {

using skua::endpoint;

TEST(Endpoint, has_an_address_and_a_port) {
  endpoint const e("192.0.2.1", 8080);
  EXPECT_TRUE(e.is_v4());
  EXPECT_FALSE(e.is_v6());
  EXPECT_EQ(e.address(), "192.0.2.1");
  EXPECT_EQ(e.port(), 8080);
  EXPECT_EQ(e.to_string(), "192.0.2.1:8080");
}

TEST(Endpoint, of_ipv6_is_written_in_brackets) {
  endpoint const e("2001:DB8::0:1", 443);
  EXPECT_TRUE(e.is_v6());
  EXPECT_EQ(e.address(), "2001:db8::1");
  EXPECT_EQ(e.to_string(), "[2001:db8::1]:443");
}

TEST(Endpoint, has_a_scope_where_the_address_needs_one) {
  endpoint const e("fe80::1%lo", 1);
  EXPECT_EQ(e.address(), "fe80::1%lo");
  EXPECT_EQ(endpoint("fe80::1%1", 1), e);   // lo is interface 1
  EXPECT_NE(endpoint("fe80::1", 1), e);
  EXPECT_THROW(endpoint("fe80::1%", 1), std::invalid_argument);
  EXPECT_THROW(endpoint("fe80::1%no-such-interface", 1), std::invalid_argument);
}

TEST(Endpoint, without_an_address_says_so) {
  endpoint const e;
  EXPECT_FALSE(e.is_v4() || e.is_v6());
  EXPECT_EQ(e.native_size(), 0u);
  EXPECT_EQ(e.to_string(), "(none)");
}

TEST(Endpoint, refuses_text_that_is_no_address) {
  for (char const* text : {"", "localhost", "1.2.3", "1.2.3.4.5", "256.0.0.1", "0x7f.1", "[::1]", "::1::", "1.2.3.4:80", "127.0.0.1%lo"})
    EXPECT_THROW(endpoint(text, 80), std::invalid_argument) << text;
}

TEST(Endpoint, is_parsed_as_it_is_written) {
  for (char const* text : {"0.0.0.0:0", "192.0.2.1:65535", "[::]:1", "[2001:db8::1]:443"}) {
    auto const e = endpoint::parse(text);
    ASSERT_TRUE(e) << text;
    EXPECT_EQ(e->to_string(), text);
  }
}

TEST(Endpoint, parse_refuses_what_is_not_whole) {
  for (char const* text : {"", ":", "1.2.3.4", "1.2.3.4:", "1.2.3.4:x", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4: 80", "::1:80", "[::1]", "[::1]80",
                           "[1.2.3.4]:80", "[]:80", "localhost:80"})
    EXPECT_FALSE(endpoint::parse(text)) << text;
}

TEST(Endpoint, knows_this_machine_and_all_interfaces) {
  EXPECT_EQ(endpoint::loopback(80).to_string(), "127.0.0.1:80");
  EXPECT_EQ(endpoint::loopback_v6(80).to_string(), "[::1]:80");
  EXPECT_EQ(endpoint::any(80).to_string(), "0.0.0.0:80");
  EXPECT_EQ(endpoint::any_v6(80).to_string(), "[::]:80");
}

TEST(Endpoint, is_compared_and_hashed_by_value) {
  EXPECT_EQ(endpoint("127.0.0.1", 80), endpoint::loopback(80));
  EXPECT_NE(endpoint::loopback(81), endpoint::loopback(80));
  EXPECT_EQ(endpoint::loopback(1).with_port(80), endpoint::loopback(80));
  EXPECT_NE(endpoint::any(80), endpoint::any_v6(80));
  std::unordered_set<endpoint> const set{endpoint::loopback(80), endpoint("127.0.0.1", 80), endpoint::loopback_v6(80)};
  EXPECT_EQ(set.size(), 2u);
}

TEST(Endpoint, goes_through_the_kernels_form_unchanged) {
  for (endpoint const& e : {endpoint("192.0.2.7", 7), endpoint("fe80::1%lo", 8)}) {
    auto const back = endpoint::from_native(e.native(), e.native_size());
    ASSERT_TRUE(back);
    EXPECT_EQ(*back, e);
  }
  EXPECT_EQ(endpoint::loopback(1).native_size(), sizeof(sockaddr_in));
  EXPECT_EQ(endpoint::loopback_v6(1).native_size(), sizeof(sockaddr_in6));
  EXPECT_FALSE(endpoint::from_native(endpoint::loopback(1).native(), sizeof(sockaddr_in) - 1));
  sa_family_t const unix_domain = 1;
  EXPECT_FALSE(endpoint::from_native(&unix_domain, sizeof unix_domain));
}

} // namespace
