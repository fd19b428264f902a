// Runs one ExecuTorch program on given inputs, again and again: outputs to files, times to a JSON file.
//
// Everything is raw little-endian float32, as the program's own description of its inputs and outputs says; nothing is
// parsed but the command line. Exit codes: 0 done, 2 usage or a file that does not fit, 3 the program failed.

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>

// The wheel ships the thread pool without its header; this is all of it that is used.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool

namespace {

using executorch::extension::Module;
using executorch::extension::TensorPtr;
using executorch::runtime::Error;
using executorch::runtime::EValue;
using Clock = std::chrono::steady_clock;

constexpr int kUsage = 2;
constexpr int kFailed = 3;

struct Options {
  std::string model;
  std::string out;
  std::vector<std::string> inputs;
  int threads = 1;
  int repeats = 0;
};

[[noreturn]] void fail(int code, const std::string& message) {
  std::fprintf(stderr, "pocketcrafter_runner: %s\n", message.c_str());
  std::exit(code);
}

int positive(const char* text, int least) {
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*end != '\0' || value < least || value > 1000000) {
    fail(kUsage, std::string("not a number that fits: ") + text);
  }
  return static_cast<int>(value);
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 >= argc) {
      fail(kUsage, std::string("no value for ") + argv[i]);
    }
    const std::string name = argv[i];
    if (name == "--model") {
      options.model = argv[i + 1];
    } else if (name == "--out") {
      options.out = argv[i + 1];
    } else if (name == "--input") {
      options.inputs.emplace_back(argv[i + 1]);
    } else if (name == "--threads") {
      options.threads = positive(argv[i + 1], 1);
    } else if (name == "--repeats") {
      options.repeats = positive(argv[i + 1], 0);
    } else {
      fail(kUsage, "unknown option " + name);
    }
  }
  if (options.model.empty() || options.out.empty()) {
    fail(kUsage, "usage: --model FILE --out FOLDER [--input FILE]... [--threads N] [--repeats N]");
  }
  return options;
}

void check(Error error, const char* what) {
  if (error != Error::Ok) {
    char code[16];
    std::snprintf(code, sizeof code, "0x%x", static_cast<unsigned>(error));
    fail(kFailed, std::string(what) + " failed with ExecuTorch's error " + code);
  }
}

std::vector<float> read(const std::string& path, size_t numbers) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) {
    fail(kUsage, path + ": cannot be read");
  }
  const auto bytes = static_cast<size_t>(file.tellg());
  if (bytes != numbers * sizeof(float)) {
    fail(kUsage, path + ": has " + std::to_string(bytes) + " bytes; the program takes " +
                     std::to_string(numbers * sizeof(float)));
  }
  std::vector<float> values(numbers);
  file.seekg(0);
  file.read(reinterpret_cast<char*>(values.data()), static_cast<std::streamsize>(bytes));
  return values;
}

// Written under another name first, so that a killed runner leaves no half of a result under the right one.
void write(const std::string& path, const void* data, size_t bytes) {
  const std::string temporary = path + ".tmp";
  {
    std::ofstream file(temporary, std::ios::binary);
    file.write(static_cast<const char*>(data), static_cast<std::streamsize>(bytes));
    file.flush();
    if (!file) {
      std::remove(temporary.c_str());
      fail(kUsage, path + ": cannot be written; is the disk full?");
    }
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    fail(kUsage, path + ": cannot be renamed");
  }
}

double since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

long peak_rss_kib() {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.rfind("VmHWM:", 0) == 0) {
      return std::strtol(line.c_str() + 6, nullptr, 10);
    }
  }
  return 0;
}

std::string joined(const std::vector<double>& values) {
  std::string text;
  for (const double value : values) {
    char number[32];
    std::snprintf(number, sizeof number, "%s%.6f", text.empty() ? "" : ", ", value);
    text += number;
  }
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  if (auto* pool = executorch::extension::threadpool::get_threadpool()) {
    pool->_unsafe_reset_threadpool(static_cast<uint32_t>(options.threads));
  }
  auto start = Clock::now();
  Module module(options.model, Module::LoadMode::File);
  check(module.load_method("forward"), "loading the method `forward`");
  const double load_ms = since(start);

  const auto meta = module.method_meta("forward");
  check(meta.error(), "reading the method `forward`");
  if (meta->num_inputs() != options.inputs.size()) {
    fail(kUsage, std::to_string(options.inputs.size()) + " inputs given; the program takes " +
                     std::to_string(meta->num_inputs()));
  }
  std::vector<std::vector<float>> data;
  std::vector<TensorPtr> tensors;
  std::vector<EValue> values;
  data.reserve(options.inputs.size());
  for (size_t i = 0; i < options.inputs.size(); ++i) {
    const auto tensor = meta->input_tensor_meta(i);
    check(tensor.error(), "reading an input's shape");
    if (tensor->scalar_type() != executorch::aten::ScalarType::Float) {
      fail(kUsage, "input " + std::to_string(i) + " is not float32");
    }
    data.push_back(read(options.inputs[i], tensor->nbytes() / sizeof(float)));
    std::vector<executorch::aten::SizesType> sizes(tensor->sizes().begin(), tensor->sizes().end());
    tensors.push_back(executorch::extension::from_blob(data.back().data(), sizes));
    values.emplace_back(*tensors.back());
  }

  start = Clock::now();
  auto outputs = module.forward(values);
  check(outputs.error(), "the first run");
  const double first_ms = since(start);
  for (size_t i = 0; i < outputs->size(); ++i) {
    if (!outputs->at(i).isTensor()) {
      fail(kFailed, "output " + std::to_string(i) + " is no tensor");
    }
    const auto tensor = outputs->at(i).toTensor();
    write(options.out + "/output_" + std::to_string(i) + ".bin", tensor.const_data_ptr(), tensor.nbytes());
  }
  std::vector<double> samples;
  for (int i = 0; i < options.repeats; ++i) {
    start = Clock::now();
    const auto again = module.forward(values);
    samples.push_back(since(start));
    check(again.error(), "a repeated run");
  }
  const std::string result = "{\"load_ms\": " + joined({load_ms}) + ", \"first_ms\": " + joined({first_ms}) +
                             ", \"samples_ms\": [" + joined(samples) + "], \"threads\": " +
                             std::to_string(options.threads) + ", \"peak_rss_kib\": " +
                             std::to_string(peak_rss_kib()) + "}\n";
  write(options.out + "/result.json", result.data(), result.size());
  return 0;
}
