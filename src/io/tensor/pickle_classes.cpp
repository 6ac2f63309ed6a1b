#include "io/tensor/pickle_classes.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace lacuna {
namespace {

struct ClassRow {
  std::string_view module, name;
  PickleClass meaning;
};

constexpr std::string_view kUtils = "torch._utils", kStorageModule = "torch.storage", kJit = "torch.jit._pickle";

constexpr ClassRow kClasses[] = {
    {"collections", "OrderedDict", PickleClass::kDict},
    {"collections", "Counter", PickleClass::kDict},
    {"collections", "defaultdict", PickleClass::kDefaultDict},
    {"builtins", "dict", PickleClass::kDict},
    {"__builtin__", "dict", PickleClass::kDict},
    {"builtins", "set", PickleClass::kSet},
    {"__builtin__", "set", PickleClass::kSet},
    {"builtins", "frozenset", PickleClass::kSet},
    {"__builtin__", "frozenset", PickleClass::kSet},
    {"builtins", "list", PickleClass::kList},
    {"__builtin__", "list", PickleClass::kList},
    {"torch", "Size", PickleClass::kList},
    {kJit, "build_intlist", PickleClass::kList},
    {kJit, "build_doublelist", PickleClass::kList},
    {kJit, "build_boollist", PickleClass::kList},
    {kJit, "build_tensorlist", PickleClass::kList},
    {kJit, "restore_type_tag", PickleClass::kTyped},
    {"argparse", "Namespace", PickleClass::kNamespace},
    {kUtils, "_rebuild_tensor", PickleClass::kTensor},
    {kUtils, "_rebuild_tensor_v2", PickleClass::kTensor},
    {kUtils, "_rebuild_tensor_v3", PickleClass::kTensorV3},
    {kUtils, "_rebuild_parameter", PickleClass::kParameter},
    {kUtils, "_rebuild_parameter_with_state", PickleClass::kParameter},
    {"torch._tensor", "_rebuild_from_type_v2", PickleClass::kTensorSubclass},
    {kUtils, "_rebuild_qtensor", PickleClass::kUnreadTensor},
    {kUtils, "_rebuild_sparse_tensor", PickleClass::kUnreadTensor},
    {kUtils, "_rebuild_sparse_csr_tensor", PickleClass::kUnreadTensor},
    {kUtils, "_rebuild_nested_tensor", PickleClass::kUnreadTensor},
    {kUtils, "_rebuild_meta_tensor_no_storage", PickleClass::kUnreadTensor},
    {kUtils, "_rebuild_device_tensor_from_numpy", PickleClass::kUnreadTensor},
    {kUtils, "_rebuild_device_tensor_from_cpu_tensor", PickleClass::kUnreadTensor},
    {kUtils, "_rebuild_wrapper_subclass", PickleClass::kUnreadTensor},
    {"torch", "device", PickleClass::kDevice},
    {kStorageModule, "UntypedStorage", PickleClass::kStorage},
    {"numpy.core.multiarray", "scalar", PickleClass::kNumpyScalar},
    {"numpy._core.multiarray", "scalar", PickleClass::kNumpyScalar},
    {"numpy", "dtype", PickleClass::kNumpyType},
    {"numpy.core.multiarray", "_reconstruct", PickleClass::kNumpyArray},
    {"numpy._core.multiarray", "_reconstruct", PickleClass::kNumpyArray},
    {"numpy._core.numeric", "_frombuffer", PickleClass::kNumpyArray},
    {"numpy.core.numeric", "_frombuffer", PickleClass::kNumpyArray},
    {"_codecs", "encode", PickleClass::kEncode},
    {"copyreg", "_reconstructor", PickleClass::kReconstructor},
    {"copy_reg", "_reconstructor", PickleClass::kReconstructor},
    {"pathlib", "Path", PickleClass::kPath},
    {"pathlib", "PosixPath", PickleClass::kPath},
    {"pathlib", "WindowsPath", PickleClass::kPath},
    {"pathlib", "PurePosixPath", PickleClass::kPath},
    {"pathlib._local", "PosixPath", PickleClass::kPath},
};

// Modules of which no function belongs into a file of weights: they start programs, load code or reach the network.
constexpr std::string_view kCodeModules[] = {"os",
                                             "posix",
                                             "nt",
                                             "posixpath",
                                             "ntpath",
                                             "subprocess",
                                             "sys",
                                             "socket",
                                             "shutil",
                                             "pty",
                                             "webbrowser",
                                             "runpy",
                                             "importlib",
                                             "imp",
                                             "types",
                                             "marshal",
                                             "ctypes",
                                             "_ctypes",
                                             "codeop",
                                             "commands",
                                             "popen2",
                                             "asyncio",
                                             "signal",
                                             "pdb",
                                             "bdb",
                                             "timeit",
                                             "cProfile",
                                             "doctest",
                                             "pip",
                                             "ensurepip",
                                             "distutils",
                                             "setuptools",
                                             "pkgutil",
                                             "zipimport",
                                             "pickle",
                                             "_pickle",
                                             "cPickle",
                                             "dill",
                                             "cloudpickle",
                                             "joblib",
                                             "shelve",
                                             "multiprocessing",
                                             "_thread",
                                             "urllib",
                                             "http",
                                             "httplib",
                                             "requests",
                                             "ftplib",
                                             "smtplib",
                                             "telnetlib",
                                             "tempfile",
                                             "fileinput",
                                             "linecache",
                                             "inspect",
                                             "gc",
                                             "atexit",
                                             "venv",
                                             "platform",
                                             "_posixsubprocess",
                                             "_socket",
                                             "_io",
                                             "io",
                                             "nturl2path",
                                             "pydoc",
                                             "lib2to3",
                                             "xmlrpc",
                                             "concurrent",
                                             "mmap",
                                             "sqlite3"};

// Functions of modules that also hold harmless names.
constexpr std::string_view kBuiltins[] = {
    "eval",    "exec",        "execfile",     "compile",  "__import__", "getattr", "setattr",   "delattr",
    "globals", "locals",      "vars",         "open",     "file",       "input",   "raw_input", "breakpoint",
    "apply",   "map",         "filter",       "reduce",   "help",       "exit",    "quit",      "type",
    "super",   "classmethod", "staticmethod", "property", "memoryview"};

struct NameRow {
  std::string_view module, name;
};

constexpr NameRow kCodeNames[] = {{"code", "interact"},
                                  {"code", "InteractiveConsole"},
                                  {"code", "InteractiveInterpreter"},
                                  {"profile", "run"},
                                  {"trace", "Trace"},
                                  {"operator", "attrgetter"},
                                  {"operator", "methodcaller"},
                                  {"_operator", "attrgetter"},
                                  {"_operator", "methodcaller"},
                                  {"functools", "reduce"},
                                  {"_functools", "reduce"},
                                  {"torch", "load"},
                                  {"torch.serialization", "load"},
                                  {"torch.hub", "load"},
                                  {"torch.jit", "load"},
                                  {"torch.storage", "_load_from_bytes"},
                                  {"torch.package", "PackageImporter"},
                                  {"torch.utils.cpp_extension", "load"},
                                  {"torch.utils.cpp_extension", "load_inline"},
                                  {"torch._dynamo", "optimize"},
                                  {"numpy", "load"},
                                  {"numpy.testing._private.utils", "runstring"},
                                  {"numpy.f2py.crackfortran", "getlincoef"},
                                  {"pandas", "read_pickle"},
                                  {"pandas", "eval"}};

// Harmless names of the modules above.
constexpr NameRow kHarmless[] = {{"types", "SimpleNamespace"},
                                 {"types", "NoneType"},
                                 {"signal", "Signals"},
                                 {"signal", "SIGTERM"},
                                 {"inspect", "Parameter"}};

bool has_row(std::string_view module, std::string_view name, const NameRow* begin, const NameRow* end) {
  return std::any_of(begin, end, [&](const NameRow& row) { return row.module == module && row.name == name; });
}

bool is_code_module(std::string_view word) {
  return std::find(std::begin(kCodeModules), std::end(kCodeModules), word) != std::end(kCodeModules);
}

bool is_builtin_code(std::string_view name) {
  return std::find(std::begin(kBuiltins), std::end(kBuiltins), name) != std::end(kBuiltins);
}

std::string_view first_word(std::string_view dotted) { return dotted.substr(0, dotted.find('.')); }

// Protocol 4 resolves dots in names: ("torch", "os.system") would be os.system as well.
bool reaches_code(std::string_view name) {
  if (name.find('.') == std::string_view::npos) return false;
  while (true) {
    const std::string_view word = first_word(name);
    if (is_code_module(word) || is_builtin_code(word) || word == "builtins" || word.substr(0, 2) == "__") return true;
    if (word.size() == name.size()) return false;
    name.remove_prefix(word.size() + 1);
  }
}

bool ends_with(std::string_view text, std::string_view end) {
  return text.size() > end.size() && text.substr(text.size() - end.size()) == end;
}

}  // namespace

PickleClass pickle_class(std::string_view module, std::string_view name) {
  for (const ClassRow& row : kClasses) {
    if (row.module == module && row.name == name) return row.meaning;
  }
  const bool torch = module == "torch" || module == "torch.cuda";
  if (torch && ends_with(name, "Storage")) return PickleClass::kStorage;
  if (module == "torch" && !name.empty() && name[0] >= 'a' && name[0] <= 'z') return PickleClass::kScalarType;
  return PickleClass::kOther;
}

std::optional<std::string> runs_code(std::string_view module, std::string_view name) {
  const auto full = [&] { return std::string(module) + "." + std::string(name); };
  if (has_row(module, name, std::begin(kHarmless), std::end(kHarmless))) return std::nullopt;
  if (module == "builtins" || module == "__builtin__") {
    return is_builtin_code(first_word(name)) || reaches_code(name) ? std::optional(full()) : std::nullopt;
  }
  const bool refused = is_code_module(first_word(module)) || reaches_code(name) ||
                       has_row(module, name, std::begin(kCodeNames), std::end(kCodeNames));
  return refused ? std::optional(full()) : std::nullopt;
}

}  // namespace lacuna
