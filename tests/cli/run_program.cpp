#include "tests/cli/run_program.h"
#include "tweedie/base/files.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

namespace tweedie::test {
namespace {

namespace fs = std::filesystem;

}  // namespace

Outcome run_program(const std::vector<std::string>& arguments,
                    const std::function<bool()>& interrupt_when, int signal, bool own_spins) {
  const TemporaryFolder said;
  const std::string out = said / "out", err = said / "err";
  std::vector<std::string> words = arguments;
  words.insert(words.begin(), TWEEDIE_PROGRAM);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    const int to_out = open(out.c_str(), O_WRONLY | O_CREAT, 0600);
    const int to_err = open(err.c_str(), O_WRONLY | O_CREAT, 0600);
    dup2(to_out, STDOUT_FILENO);
    dup2(to_err, STDERR_FILENO);
    if (own_spins)
      unsetenv("GOMP_SPINCOUNT");
    else
      setenv("GOMP_SPINCOUNT", "1000", 1);
    execv(argv[0], argv.data());
    _exit(127);
  }
  if (child < 0) throw std::runtime_error("fork failed");
  int status = 0;
  bool sent = !interrupt_when;
  while (waitpid(child, &status, sent ? 0 : WNOHANG) == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    if ((sent = interrupt_when())) kill(child, signal);
  }
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), tweedie::read_file(out),
          tweedie::read_file(err)};
}

TemporaryFolder::TemporaryFolder() {
  std::string name = (fs::temp_directory_path() / "tweedie-cli-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

std::vector<std::string> TemporaryFolder::files() const {
  std::vector<std::string> found;
  for (const auto& entry : fs::recursive_directory_iterator(path_))
    if (entry.is_regular_file()) found.push_back(fs::relative(entry.path(), path_).string());
  std::sort(found.begin(), found.end());
  return found;
}

size_t line_count(const std::string& text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n'));
}

}  // namespace tweedie::test
