#include "io/tensor/torch_tree.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>
#include <variant>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

using Kind = PickleValue::Kind;

constexpr std::size_t kMaxSteps = 4'000'000, kMaxDepth = 100, kMaxNameBytes = 4096, kMaxTensors = 1'000'000;
constexpr std::size_t kMaxMetadata = 20'000, kMaxMetadataBytes = 4u << 20, kMaxLeftOut = 10'000;
constexpr std::size_t kMaxTensorNameBytes = 100'000'000;        // together, as in a header of safetensors
constexpr std::size_t kMaxDictionaries = 10'000, kShallow = 6;  // only outer ones wrap a state dictionary
constexpr std::size_t kMaxPlainText = 4096;
constexpr int kMaxPlainDepth = 4;

// ---- Plain values as text -------------------------------------------------------------------------------------------

std::string number_text(double value) {
  char digits[32];
  const auto end = std::to_chars(std::begin(digits), std::end(digits), value);
  return {digits, end.ptr};
}

// The code points of a text as bytes: how protocol 2 writes bytes. Nothing if one is beyond 255.
std::optional<std::string> latin1(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
      out += text[i];
    } else if ((byte == 0xc2 || byte == 0xc3) && i + 1 < text.size()) {
      out += static_cast<char>(((byte & 3u) << 6) | (static_cast<unsigned char>(text[++i]) & 0x3fu));
    } else {
      return std::nullopt;
    }
  }
  return out;
}

std::optional<std::string> bytes_of(const PickleValue& value) {
  if (value.is(Kind::kBytes)) return std::string(value.bytes);
  const PickleValue::Items& arguments = value.arguments();
  if (value.made_by() != PickleClass::kEncode || arguments.empty() || !arguments[0]->is(Kind::kText) ||
      arguments[0]->bytes.size() > kMaxPlainText) {
    return std::nullopt;
  }
  return latin1(arguments[0]->bytes);
}

template <class T>
std::optional<std::string> scalar_text(const std::string& bytes) {
  T value;
  if (bytes.size() != sizeof(T)) return std::nullopt;
  std::memcpy(&value, bytes.data(), sizeof(T));
  if constexpr (std::is_floating_point_v<T>) return number_text(static_cast<double>(value));
  return std::to_string(value);
}

// numpy.float64(0.05) and its like: scalar(dtype("f8"), bytes).
std::optional<std::string> numpy_text(const PickleValue& value) {
  const PickleValue::Items& arguments = value.arguments();
  if (arguments.size() != 2 || arguments[0]->made_by() != PickleClass::kNumpyType) return std::nullopt;
  const PickleValue::Items& of_type = arguments[0]->arguments();
  const std::optional<std::string> bytes = bytes_of(*arguments[1]);
  if (of_type.empty() || !of_type[0]->is(Kind::kText) || !bytes) return std::nullopt;
  const PickleValue* state = arguments[0]->state;  // (version, byte order, …)
  if (state != nullptr && state->is(Kind::kTuple) && state->items.size() > 1 && state->items[1]->is(Kind::kText) &&
      state->items[1]->bytes == ">") {
    return std::nullopt;
  }
  const std::string_view type = of_type[0]->bytes;
  if (type == "b1")
    return bytes->size() == 1 ? std::optional<std::string>((*bytes)[0] ? "true" : "false") : std::nullopt;
  if (type == "f8") return scalar_text<double>(*bytes);
  if (type == "f4") return scalar_text<float>(*bytes);
  if (type == "i8") return scalar_text<std::int64_t>(*bytes);
  if (type == "i4") return scalar_text<std::int32_t>(*bytes);
  if (type == "u8") return scalar_text<std::uint64_t>(*bytes);
  if (type == "u4") return scalar_text<std::uint32_t>(*bytes);
  return std::nullopt;
}

std::optional<std::string> object_text(const PickleValue& value) {
  const PickleValue::Items& arguments = value.arguments();
  switch (value.made_by()) {
    case PickleClass::kNumpyScalar:
      return numpy_text(value);
    case PickleClass::kPath:
    case PickleClass::kDevice: {
      std::string out;
      const char separator = value.made_by() == PickleClass::kPath ? '/' : ':';
      for (const PickleValue* part : arguments) {
        const std::optional<std::string> word = part->is(Kind::kObject) ? std::nullopt : plain_text(*part);
        if (!word) return std::nullopt;
        out += (out.empty() || out.back() == separator ? "" : std::string(1, separator)) + *word;
      }
      return out.substr(0, kMaxPlainText);
    }
    default:
      return std::nullopt;
  }
}

std::optional<std::string> plain(const PickleValue& value, int depth, std::size_t& room);

std::optional<std::string> list_text(const PickleValue& value, int depth, std::size_t& room) {
  const bool tuple = value.is(Kind::kTuple), set = value.is(Kind::kSet);
  std::string out = tuple ? "(" : set ? "{" : "[";
  for (std::size_t i = 0; i < value.items.size(); ++i) {
    const std::optional<std::string> item = plain(*value.items[i], depth + 1, room);
    if (!item) return std::nullopt;
    out += (i == 0 ? "" : ", ") + *item;
    if (room == 0) return out + ", …";
  }
  return out + (tuple ? ")" : set ? "}" : "]");
}

// `room` is what may still be written, so that shared lists cannot unfold without end.
std::optional<std::string> plain(const PickleValue& value, int depth, std::size_t& room) {
  std::optional<std::string> out;
  switch (value.kind) {
    case Kind::kNone:
      out = "null";
      break;
    case Kind::kBool:
      out = value.integer != 0 ? "true" : "false";
      break;
    case Kind::kInt:
      out = std::to_string(value.integer);
      break;
    case Kind::kBigInt:
      out = "an integer beyond 64 bits";
      break;
    case Kind::kFloat:
      out = number_text(value.number);
      break;
    case Kind::kText:
      out = std::string(value.bytes.substr(0, kMaxPlainText));
      break;
    case Kind::kGlobal:
      if (value.meaning == PickleClass::kScalarType) out = value.class_name();
      break;
    case Kind::kObject:
      out = object_text(value);
      break;
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kSet:
      if (depth < kMaxPlainDepth) out = list_text(value, depth, room);
      break;
    default:
      break;
  }
  if (out) room -= std::min(room, out->size() + 1);
  return out;
}

// ---- The walk -------------------------------------------------------------------------------------------------------

class Walk {
 public:
  Walk(TensorTable& table, TorchTensors& tensors, const std::string& file)
      : table_(table), tensors_(tensors), file_(file) {}

  void visit(const PickleValue& value);

 private:
  // One name deeper while it lives.
  class Deeper {
   public:
    Deeper(Walk& walk, std::string_view name) : walk_(walk), length_(walk.name_.size()) {
      walk_.name_ += walk_.name_.empty() ? "" : ".";
      walk_.name_ += name;
      if (walk_.name_.size() > kMaxNameBytes)
        fail_data(walk_.file_, ": expected names of at most ", kMaxNameBytes, " bytes, found ", printable(walk_.name_));
    }
    ~Deeper() { walk_.name_.resize(length_); }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;

   private:
    Walk& walk_;
    std::size_t length_;
  };

  bool take_whole(const PickleValue& value);
  void visit_inside(const PickleValue& value);
  void visit_dict(const PickleValue& dict);
  void visit_list(const PickleValue& list);
  void visit_object(const PickleValue& object);
  void visit_module(const PickleValue& object);
  void visit_script(const PickleValue& object);
  void add_tensor(const PickleValue& value);
  void add_metadata(std::string content);
  void leave_out(std::string reason);
  void note_dictionary();
  std::string shown_name() const { return name_.empty() ? "tensor" : name_; }

  TensorTable& table_;
  TorchTensors& tensors_;
  const std::string& file_;
  std::string name_;
  std::vector<const PickleValue*> path_;  // from the root to where the walk is
  std::size_t steps_ = 0, metadata_bytes_ = 0, name_bytes_ = 0;
  int modules_ = 0;  // that the walk is inside of
};

void Walk::visit(const PickleValue& value) {
  if (++steps_ > kMaxSteps) fail_data(file_, ": its values are shared so that they unfold to more than ", kMaxSteps);
  if (take_whole(value)) return;
  if (std::find(path_.begin(), path_.end(), &value) != path_.end()) return leave_out("it holds itself");
  if (path_.size() == kMaxDepth)
    fail_data(file_, ": '", printable(name_), "' is nested more than ", kMaxDepth, " deep");
  path_.push_back(&value);
  visit_inside(value);
  path_.pop_back();
}

// Tensors, numbers, texts and plain lists.
bool Walk::take_whole(const PickleValue& value) {
  if (TorchTensors::is_tensor(value)) {
    add_tensor(value);
    return true;
  }
  if (value.is(Kind::kDict)) return false;
  std::size_t room = kMaxPlainText;
  std::optional<std::string> content = plain(value, 0, room);
  if (!content) return false;
  const bool empty = (value.is(Kind::kList) || value.is(Kind::kTuple)) && value.items.empty();
  if (!empty && modules_ == 0) add_metadata(std::move(*content));
  return true;
}

void Walk::visit_inside(const PickleValue& value) {
  switch (value.kind) {
    case Kind::kDict:
      return visit_dict(value);
    case Kind::kList:
    case Kind::kTuple:
      return visit_list(value);
    case Kind::kObject:
      return visit_object(value);
    case Kind::kGlobal:
      return leave_out("the class " + printable(value.class_name()) + " itself");
    case Kind::kPersistent:
      return leave_out("a storage without a tensor");
    case Kind::kBytes:
      return leave_out("bytes");
    default:
      return leave_out("a set of objects");
  }
}

void Walk::visit_dict(const PickleValue& dict) {
  note_dictionary();
  for (std::size_t i = 0; i + 1 < dict.items.size(); i += 2) {
    const PickleValue& key = *dict.items[i];
    const bool flat = key.is(Kind::kText) || key.is(Kind::kInt) || key.is(Kind::kBool);
    const std::string number = flat && !key.is(Kind::kText) ? *plain_text(key) : "?";
    const Deeper deeper(*this, key.is(Kind::kText) ? key.bytes : number);
    if (flat) {
      visit(*dict.items[i + 1]);
    } else {
      leave_out("its key is neither a text nor an integer");
    }
  }
}

void Walk::visit_list(const PickleValue& list) {
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    const Deeper deeper(*this, std::to_string(i));
    visit(*list.items[i]);
  }
}

void Walk::visit_object(const PickleValue& object) {
  const std::string name = object.class_name();
  const PickleValue* state = object.state;
  if (object.made_by() == PickleClass::kTyped && !object.arguments().empty()) {
    visit(*object.arguments()[0]);
  } else if (object.made_by() == PickleClass::kNamespace) {
    if (state != nullptr && state->is(Kind::kDict)) visit_dict(*state);
  } else if (object.made_by() == PickleClass::kEncode) {
    leave_out("bytes");
  } else if (object.made_by() == PickleClass::kNumpyArray) {
    leave_out("an array of numpy, which is not read");
  } else if (name.starts_with("__torch__.") && state != nullptr && state->is(Kind::kDict)) {
    visit_script(*state);
  } else if (state != nullptr && state->find("_parameters") != nullptr && state->find("_modules") != nullptr) {
    if (modules_ == 0)
      table_.notes.push_back((name_.empty() ? "the file" : "'" + printable(name_) + "'") +
                             " is a pickled module of the class " + printable(name) +
                             "; its tensors were taken, none of its code was run");
    visit_module(*state);
  } else {
    leave_out("an object of the class " + printable(name) + ", which has no meaning here");
  }
}

// As state_dict() goes: parameters, buffers that are stored, submodules.
void Walk::visit_module(const PickleValue& state) {
  note_dictionary();
  ++modules_;
  const PickleValue* passing = state.find("_non_persistent_buffers_set");
  const auto is_stored = [&](const PickleValue& key) {
    if (passing == nullptr || !passing->is(Kind::kSet)) return true;
    return std::none_of(passing->items.begin(), passing->items.end(),
                        [&](const PickleValue* each) { return each->is(Kind::kText) && each->bytes == key.bytes; });
  };
  for (const char* part : {"_parameters", "_buffers", "_modules"}) {
    const PickleValue* members = state.find(part);
    if (members == nullptr || !members->is(Kind::kDict)) continue;
    for (std::size_t i = 0; i + 1 < members->items.size(); i += 2) {
      const PickleValue &key = *members->items[i], &member = *members->items[i + 1];
      if (!key.is(Kind::kText) || member.is(Kind::kNone)) continue;
      if (std::string_view(part) == "_buffers" && !is_stored(key)) continue;
      const Deeper deeper(*this, key.bytes);
      visit(member);
    }
  }
  --modules_;
}

// Attributes of an object of TorchScript. Its class says which are parameters, but that is code; all tensors are taken.
void Walk::visit_script(const PickleValue& state) {
  note_dictionary();
  ++modules_;
  visit_dict(state);
  --modules_;
}

void Walk::add_tensor(const PickleValue& value) {
  const std::string name = shown_name();
  auto read = tensors_.read(value, name);
  if (Unread* unread = std::get_if<Unread>(&read)) return leave_out(std::move(unread->reason));
  if (table_.tensors.contains(name)) fail_data(file_, ": expected each name once, found '", printable(name), "' twice");
  if (table_.names.size() == kMaxTensors) fail_data(file_, ": expected at most ", kMaxTensors, " tensors, found more");
  name_bytes_ += name.size();
  if (name_bytes_ > kMaxTensorNameBytes)
    fail_data(file_, ": expected names of tensors of at most ", kMaxTensorNameBytes, " bytes together, found more");
  table_.add(name, std::get<TensorInfo>(std::move(read)));
}

void Walk::note_dictionary() {
  if (modules_ == 0 && path_.size() <= kShallow && table_.dictionaries.size() < kMaxDictionaries)
    table_.dictionaries.push_back(name_);
}

void Walk::add_metadata(std::string content) {
  metadata_bytes_ += name_.size() + content.size();
  if (table_.metadata.size() == kMaxMetadata || metadata_bytes_ > kMaxMetadataBytes)
    return leave_out("a number or text beyond the first " + std::to_string(kMaxMetadata));
  table_.metadata.emplace(name_, std::move(content));
}

void Walk::leave_out(std::string reason) {
  if (table_.left_out.size() < kMaxLeftOut) table_.left_out.push_back({shown_name(), std::move(reason)});
}

}  // namespace

std::optional<std::string> plain_text(const PickleValue& value) {
  std::size_t room = kMaxPlainText;
  return plain(value, 0, room);
}

void add_torch_values(TensorTable& table, const PickleValue& root, TorchTensors& tensors, const std::string& file) {
  Walk(table, tensors, file).visit(root);
}

}  // namespace lacuna
