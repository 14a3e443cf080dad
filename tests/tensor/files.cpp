#include "tweedie/base/files.h"

#include <csignal>
#include <filesystem>
#include <future>

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/jobs/scratch.h"
#include "tests/tensor/bad_input.h"
#include "tweedie/base/lock.h"

using namespace tweedie;
namespace fs = std::filesystem;

namespace {

/// While it lives, no file may grow beyond `bytes`: what a full disk looks like to a program.
struct FullDisk {
  rlimit before;
  explicit FullDisk(rlim_t bytes) {
    std::signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    rlimit small = before;
    small.rlim_cur = bytes;
    setrlimit(RLIMIT_FSIZE, &small);
  }
  ~FullDisk() { setrlimit(RLIMIT_FSIZE, &before); }
};

size_t files_in(const std::string& folder) {
  return static_cast<size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a file written atomically is read back, and replaces the one before it") {
  const Scratch folder;
  const std::string path = folder / "a.txt";
  const std::string large(200'000, 'x');  // larger than the writer's buffer
  write_file_atomically(path, "first");
  CHECK(read_file(path) == "first");
  write_file_atomically(path, [&](const WriteBytes& write) {
    write("begin ", 6);
    write(large.data(), large.size());
    write(" end", 4);
  });
  CHECK(read_file(path) == "begin " + large + " end");
  write_file_atomically(path, "");
  CHECK(read_file(path) == "");
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("a write that fails leaves the old file and no temporary one") {
  const Scratch folder;
  const std::string path = folder / "a.txt";
  write_file_atomically(path, "old");
  SUBCASE("the disk is full") {
    const FullDisk full(100'000);
    check_refused(path, "cannot write",
                  [&] { write_file_atomically(path, std::string(300'000, 'x')); });
  }
  SUBCASE("what fills the file throws") {
    CHECK_THROWS_AS(write_file_atomically(path,
                                          [](const WriteBytes& write) {
                                            write("new", 3);
                                            throw std::runtime_error("stop");
                                          }),
                    std::runtime_error);
  }
  CHECK(read_file(path) == "old");
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("what a killed writer left goes at the next write, and nothing else does") {
  const Scratch folder;
  const std::string path = folder / "a.txt";
  put(folder / "a.txt.partial", "half of something");  // as older versions called it
  put(folder / "a.txt.mine.partial", "a user's own");
  const pid_t child = fork();
  if (child == 0)
    write_file_atomically(path, [](const WriteBytes& write) {
      write(std::string(100'000, 'x').data(), 100'000);
      std::raise(SIGKILL);
    });
  REQUIRE(waitpid(child, nullptr, 0) == child);
  CHECK_FALSE(fs::exists(path));
  CHECK(files_in(folder.path) == 2);  // the user's own, and half of what it wrote
  write_file_atomically(path, "whole");
  CHECK(read_file(path) == "whole");
  CHECK(read_file(folder / "a.txt.mine.partial") == "a user's own");
  write_file_atomically(folder / "a.txt.mine.partial", "a user's own");  // a name as good as any
  CHECK(files_in(folder.path) == 2);
}

TEST_CASE("of two writers at once each writes a whole file, and the last one's stays") {
  const Scratch folder;
  const std::string path = folder / "a.txt", half(100'000, 'a'), other(100'000, 'b');
  std::future<void> second;  // ended by the promises' end where the test fails
  std::promise<void> begun, published;
  const std::shared_future<void> done = published.get_future();
  write_file_atomically(path, [&](const WriteBytes& write) {
    write(half.data(), half.size());
    second = std::async(std::launch::async, [&, done] {
      write_file_atomically(path, [&](const WriteBytes& write_other) {
        write_other(other.data(), other.size());
        begun.set_value();
        done.get();
        write_other(other.data(), other.size());
      });
    });
    begun.get_future().wait();
    write(half.data(), half.size());
  });
  CHECK(read_file(path) == half + half);  // while the second is half-way
  published.set_value();
  second.get();
  CHECK(read_file(path) == other + other);
  CHECK(files_in(folder.path) == 1);
}

TEST_CASE("a lock is held by one at a time, and goes with its process") {
  const Scratch folder;
  const std::string path = folder / "lock";
  {
    const FileLock held = try_lock_file(path);
    CHECK(held != nullptr);
    CHECK(try_lock_file(path) == nullptr);
  }
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const FileLock held = try_lock_file(path);
    if (write(ready[1], held ? "y" : "n", 1) != 1) _exit(1);
    for (;;) pause();
  }
  char held = 0;
  REQUIRE(read(ready[0], &held, 1) == 1);
  close(ready[0]), close(ready[1]);
  CHECK(held == 'y');
  CHECK(try_lock_file(path) == nullptr);
  kill(child, SIGKILL);
  REQUIRE(waitpid(child, nullptr, 0) == child);
  CHECK(try_lock_file(path) != nullptr);
  check_refused(folder / "none/lock", "No such file", [&] { try_lock_file(folder / "none/lock"); });
}

TEST_CASE("places that cannot be written to are refused") {
  const Scratch folder;
  fs::create_directory(folder / "sub");
  check_refused(folder / "sub", "is a folder", [&] { write_file_atomically(folder / "sub", "x"); });
  check_refused(folder / "none/a", "does not exist",
                [&] { write_file_atomically(folder / "none/a", "x"); });
  // Renaming over a device would destroy it.
  check_refused("/dev/null", "not a plain file", [] { write_file_atomically("/dev/null", "x"); });
  CHECK(says(refusal([] { write_file_atomically("", "x"); }), "without a name"));
  if (geteuid() != 0) {  // root may write anywhere
    chmod((folder / "sub").c_str(), 0500);
    check_refused(folder / "sub/a", "Permission denied",
                  [&] { write_file_atomically(folder / "sub/a", "x"); });
  }
}

TEST_CASE("writing to a link writes what it names") {
  const Scratch folder;
  put(folder / "target", "old");
  fs::create_symlink("target", folder / "link");
  write_file_atomically(folder / "link", "new");
  CHECK(fs::is_symlink(folder / "link"));
  CHECK(get(folder / "target") == "new");
}

TEST_CASE("a file that is missing, a folder or too large is not read") {
  const Scratch folder;
  check_refused(folder / "none", "No such file", [&] { read_file(folder / "none"); });
  check_refused(folder.path, "is a folder", [&] { read_file(folder.path); });
  put(folder / "a", "12345");
  CHECK(read_file(folder / "a", 5) == "12345");
  check_refused(folder / "a", "at most 4", [&] { read_file(folder / "a", 4); });
  CHECK(says(refusal([] { read_file("/dev/zero", 1000); }), "more than 1000"));
}
