// SPDX-License-Identifier: Apache-2.0
// Certificates for tests, made when they are asked for: an authority, and what it signs. As PEM files.
#pragma once
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <string>
#include <unistd.h>
#include <utility>

namespace skua_test {

template <auto Free>
struct freed_by {
  template <class T>
  void operator()(T* p) const noexcept {
    Free(p);
  }
};

class certificate {
public:
  // `names` as "DNS:localhost,IP:127.0.0.1"; "": an authority. Signed by `by`; null: by itself.
  certificate(std::string const& file, std::string const& names, certificate const* by = nullptr, long seconds = 3600)
      : key_(EVP_PKEY_Q_keygen(nullptr, nullptr, "EC", "P-256")), x509_(X509_new()),
        path_((std::filesystem::temp_directory_path() / "skua_").string() + std::to_string(::getpid()) + '_' + file) {
    X509* const x = x509_.get();
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), std::rand());
    X509_gmtime_adj(X509_getm_notBefore(x), -60 + (seconds < 0 ? 2 * seconds : 0));
    X509_gmtime_adj(X509_getm_notAfter(x), seconds);
    X509_set_pubkey(x, key_.get());
    X509_NAME* const name = X509_get_subject_name(x);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<unsigned char const*>(file.c_str()), -1, -1, 0);
    X509_set_issuer_name(x, by != nullptr ? X509_get_subject_name(by->x509_.get()) : name);
    extend(names.empty() ? NID_basic_constraints : NID_subject_alt_name, names.empty() ? "critical,CA:TRUE" : names);
    X509_sign(x, by != nullptr ? by->key_.get() : key_.get(), EVP_sha256());
    write(path(), [&](FILE* f) { PEM_write_X509(f, x); });
    write(key_path(), [&](FILE* f) { PEM_write_PrivateKey(f, key_.get(), nullptr, nullptr, 0, nullptr, nullptr); });
  }
  certificate(certificate const&) = delete;
  ~certificate() {
    std::remove(path().c_str());
    std::remove(key_path().c_str());
  }
  // With a password.
  void write_encrypted_key(std::string const& to) const {
    auto const* const password = reinterpret_cast<unsigned char const*>("password");
    write(to, [&](FILE* f) { PEM_write_PrivateKey(f, key_.get(), EVP_aes_128_cbc(), password, 8, nullptr, nullptr); });
  }
  std::string path() const { return path_ + ".pem"; }
  std::string key_path() const { return path_ + ".key"; }

private:
  void extend(int what, std::string const& value) {
    std::unique_ptr<X509_EXTENSION, freed_by<X509_EXTENSION_free>> const e(X509V3_EXT_conf_nid(nullptr, nullptr, what, value.c_str()));
    X509_add_ext(x509_.get(), e.get(), -1);
  }
  template <class F>
  static void write(std::string const& path, F f) {
    std::unique_ptr<FILE, freed_by<std::fclose>> const file(std::fopen(path.c_str(), "w"));
    f(file.get());
  }

  std::unique_ptr<EVP_PKEY, freed_by<EVP_PKEY_free>> key_;
  std::unique_ptr<X509, freed_by<X509_free>> x509_;
  std::string path_;
};

} // namespace skua_test
