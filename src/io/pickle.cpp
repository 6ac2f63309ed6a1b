#include "io/pickle.h"

#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <utility>

#include "base/error.h"
#include "io/files.h"

namespace lacuna {
namespace {

using Kind = PickleValue::Kind;

// A training state of 130,000 tensors fits; a hostile pickle cannot ask for more than some hundred megabytes.
constexpr std::size_t kMaxOperations = 8'000'000, kMaxValues = 2'000'000, kMaxMemo = 8'000'000;
constexpr std::size_t kMaxItems = 16'000'000;  // of all lists and dictionaries together
constexpr std::size_t kMaxLine = 1024;
constexpr unsigned kMaxProtocol = 5;

enum class Op : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kFloatLine = 'F',
  kIntLine = 'I',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kLongLine = 'L',
  kBinInt2 = 'M',
  kNone = 'N',
  kBinPersistentId = 'Q',
  kReduce = 'R',
  kBinString = 'T',
  kShortBinString = 'U',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kAppends = 'e',
  kGet = 'g',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kList = 'l',
  kPut = 'p',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyDict = '}',
  kEmptyList = ']',
  kEmptyTuple = ')',
  kBinFloat = 'G',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kNewObjEx = 0x92,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
};

struct RefusedOp {
  std::uint8_t code;
  const char* name;
};

// What no file of weights needs. EXT looks a class up by number, INST and OBJ make objects of Python 2.
constexpr std::array<RefusedOp, 10> kRefusedOps = {{{'P', "PERSID"},
                                                    {'S', "STRING"},
                                                    {'V', "UNICODE"},
                                                    {'i', "INST"},
                                                    {'o', "OBJ"},
                                                    {0x82, "EXT1"},
                                                    {0x83, "EXT2"},
                                                    {0x84, "EXT4"},
                                                    {0x97, "NEXT_BUFFER"},
                                                    {0x98, "READONLY_BUFFER"}}};

const char* kind_name(Kind kind) {
  constexpr const char* kNames[] = {"None",   "a boolean", "an integer", "an integer",     "a number",
                                    "a text", "bytes",     "a list",     "a tuple",        "a dictionary",
                                    "a set",  "a class",   "an object",  "a persistent id"};
  return kNames[static_cast<std::size_t>(kind)];
}

// Length of the UTF-8 sequence at the front, 0 if there is none.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  if (byte(0) < 0x80) return 1;
  const std::size_t length = byte(0) >= 0xf0 ? 4 : byte(0) >= 0xe0 ? 3 : 2;
  if (byte(0) < 0xc2 || byte(0) > 0xf4 || length > text.size()) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  const bool overlong = (byte(0) == 0xe0 && byte(1) < 0xa0) || (byte(0) == 0xf0 && byte(1) < 0x90);
  const bool surrogate = byte(0) == 0xed && byte(1) > 0x9f, beyond = byte(0) == 0xf4 && byte(1) > 0x8f;
  return overlong || surrogate || beyond ? 0 : length;
}

bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

class Interpreter {
 public:
  Interpreter(std::span<const std::byte> bytes, std::string where, std::deque<PickleValue>& values)
      : bytes_(bytes), where_(std::move(where)), values_(values) {}

  const PickleValue* run();

 private:
  template <class... Parts>
  [[noreturn]] void refuse(const Parts&... parts) const {
    fail_data(where_, ": not a pickle that can be read: ", parts..., " (byte ", start_, ")");
  }

  // Each takes the operation if it is one of its own.
  bool scalar(Op op);
  bool text_or_bytes(Op op);
  bool container(Op op);
  bool memo(Op op);
  bool object(Op op);
  [[noreturn]] void refuse_operation(Op op) const;

  std::span<const std::byte> take(std::uint64_t size);
  template <class T>
  T number();
  std::string_view line();
  std::string_view counted(std::uint64_t size);

  PickleValue* make(Kind kind);
  void push(PickleValue* value) { stack_.push_back(value); }
  PickleValue* pop();
  PickleValue* top();
  std::size_t last_mark();
  std::vector<PickleValue*> pop_to_mark();

  void push_text(std::string_view content, Kind kind);
  void push_long(std::string_view content);
  void push_number_line(Op op);
  void push_global(std::string_view module, std::string_view name);
  void push_stack_global();
  void push_list(Kind kind, const std::vector<PickleValue*>& items);
  template <class Items>
  void give(PickleValue& to, const Items& items);
  void push_object(const PickleValue* callable, const PickleValue* arguments);
  void fill_dict(PickleValue& dict, const PickleValue& arguments);
  void add_items(Kind kind, const std::vector<PickleValue*>& items);
  void set_items(const std::vector<PickleValue*>& items);
  void build(PickleValue* state);
  void store(std::size_t place);
  void fetch(std::size_t place);
  std::size_t place_in_line();

  std::span<const std::byte> bytes_;
  std::string where_;
  std::deque<PickleValue>& values_;
  std::size_t at_ = 0, start_ = 0, items_ = 0;
  std::vector<PickleValue*> stack_;
  std::vector<std::size_t> marks_;
  std::vector<PickleValue*> memo_;
};

// ---- Bytes ----------------------------------------------------------------------------------------------------------

std::span<const std::byte> Interpreter::take(std::uint64_t size) {
  if (size > bytes_.size() - at_) refuse("expected ", size, " more bytes, found ", bytes_.size() - at_);
  at_ += size;
  return bytes_.subspan(at_ - size, size);
}

template <class T>
T Interpreter::number() {
  T value;
  std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
  return value;
}

std::string_view Interpreter::counted(std::uint64_t size) {
  const auto part = take(size);
  return {reinterpret_cast<const char*>(part.data()), part.size()};
}

std::string_view Interpreter::line() {
  const std::size_t room = std::min(bytes_.size() - at_, kMaxLine);
  const std::string_view rest(reinterpret_cast<const char*>(bytes_.data()) + at_, room);
  const std::size_t length = rest.find('\n');
  if (length == std::string_view::npos) refuse("expected the end of a line within ", kMaxLine, " bytes");
  at_ += length + 1;
  return rest.substr(0, length);
}

// ---- Stack ----------------------------------------------------------------------------------------------------------

PickleValue* Interpreter::make(Kind kind) {
  if (values_.size() == kMaxValues) refuse("it holds more than ", kMaxValues, " values");
  values_.emplace_back().kind = kind;
  return &values_.back();
}

PickleValue* Interpreter::top() {
  if (stack_.size() <= (marks_.empty() ? 0 : marks_.back())) refuse("it takes a value where there is none");
  return stack_.back();
}

PickleValue* Interpreter::pop() {
  PickleValue* value = top();
  stack_.pop_back();
  return value;
}

std::size_t Interpreter::last_mark() {
  if (marks_.empty()) refuse("it goes back to a mark where there is none");
  const std::size_t mark = marks_.back();
  marks_.pop_back();
  return mark;
}

std::vector<PickleValue*> Interpreter::pop_to_mark() {
  const std::size_t mark = last_mark();
  std::vector<PickleValue*> out(stack_.begin() + static_cast<std::ptrdiff_t>(mark), stack_.end());
  stack_.resize(mark);
  return out;
}

// ---- Plain values ---------------------------------------------------------------------------------------------------

bool Interpreter::scalar(Op op) {
  const auto push_integer = [&](std::int64_t value) {
    PickleValue* made = make(Kind::kInt);
    made->integer = value;
    push(made);
    return true;
  };
  switch (op) {
    case Op::kNone:
      push(make(Kind::kNone));
      return true;
    case Op::kNewTrue:
    case Op::kNewFalse:
      push(make(Kind::kBool));
      top()->integer = op == Op::kNewTrue;
      return true;
    case Op::kBinInt:
      return push_integer(number<std::int32_t>());
    case Op::kBinInt1:
      return push_integer(number<std::uint8_t>());
    case Op::kBinInt2:
      return push_integer(number<std::uint16_t>());
    case Op::kLong1:
      push_long(counted(number<std::uint8_t>()));
      return true;
    case Op::kLong4:
      push_long(counted(number<std::uint32_t>()));
      return true;
    case Op::kIntLine:
    case Op::kLongLine:
    case Op::kFloatLine:
      push_number_line(op);
      return true;
    case Op::kBinFloat: {
      const auto bits = __builtin_bswap64(number<std::uint64_t>());
      push(make(Kind::kFloat));
      std::memcpy(&top()->number, &bits, sizeof(bits));
      return true;
    }
    default:
      return false;
  }
}

// Little-endian two's complement of any length.
void Interpreter::push_long(std::string_view content) {
  PickleValue* value = make(content.size() <= 8 ? Kind::kInt : Kind::kBigInt);
  value->bytes = content;
  if (content.size() <= 8 && !content.empty()) {
    const bool negative = (static_cast<unsigned char>(content.back()) & 0x80) != 0;
    value->integer = negative ? -1 : 0;
    std::memcpy(&value->integer, content.data(), content.size());
  }
  push(value);
}

void Interpreter::push_number_line(Op op) {
  std::string_view digits = line();
  if (op == Op::kIntLine && (digits == "00" || digits == "01")) {
    push(make(Kind::kBool));
    top()->integer = digits == "01";
    return;
  }
  if (op == Op::kLongLine && !digits.empty() && digits.back() == 'L') digits.remove_suffix(1);
  PickleValue* value = make(op == Op::kFloatLine ? Kind::kFloat : Kind::kInt);
  const char* end = digits.data() + digits.size();
  const auto read = op == Op::kFloatLine ? std::from_chars(digits.data(), end, value->number)
                                         : std::from_chars(digits.data(), end, value->integer);
  if (op == Op::kLongLine && read.ec == std::errc::result_out_of_range && read.ptr == end) value->kind = Kind::kBigInt;
  const bool whole = (read.ec == std::errc() || value->is(Kind::kBigInt)) && read.ptr == end;
  if (!whole) refuse("expected a number, found '", printable(digits, 40), "'");
  push(value);
}

bool Interpreter::text_or_bytes(Op op) {
  switch (op) {
    case Op::kShortBinUnicode:
      push_text(counted(number<std::uint8_t>()), Kind::kText);
      return true;
    case Op::kBinUnicode:
      push_text(counted(number<std::uint32_t>()), Kind::kText);
      return true;
    case Op::kBinUnicode8:
      push_text(counted(number<std::uint64_t>()), Kind::kText);
      return true;
    case Op::kShortBinBytes:
      push_text(counted(number<std::uint8_t>()), Kind::kBytes);
      return true;
    case Op::kBinBytes:
      push_text(counted(number<std::uint32_t>()), Kind::kBytes);
      return true;
    case Op::kBinBytes8:
    case Op::kByteArray8:
      push_text(counted(number<std::uint64_t>()), Kind::kBytes);
      return true;
    case Op::kShortBinString:
    case Op::kBinString: {  // a text of Python 2, if it is one
      const auto content = counted(op == Op::kBinString ? number<std::uint32_t>() : number<std::uint8_t>());
      push_text(content, is_utf8(content) ? Kind::kText : Kind::kBytes);
      return true;
    }
    default:
      return false;
  }
}

void Interpreter::push_text(std::string_view content, Kind kind) {
  if (kind == Kind::kText && !is_utf8(content)) refuse("expected text in UTF-8, found '", printable(content, 40), "'");
  PickleValue* value = make(kind);
  value->bytes = content;
  push(value);
}

// ---- Containers -----------------------------------------------------------------------------------------------------

bool Interpreter::container(Op op) {
  switch (op) {
    case Op::kEmptyList:
      push(make(Kind::kList));
      return true;
    case Op::kEmptyTuple:
      push(make(Kind::kTuple));
      return true;
    case Op::kEmptyDict:
      push(make(Kind::kDict));
      return true;
    case Op::kEmptySet:
      push(make(Kind::kSet));
      return true;
    case Op::kList:
      push_list(Kind::kList, pop_to_mark());
      return true;
    case Op::kTuple:
      push_list(Kind::kTuple, pop_to_mark());
      return true;
    case Op::kFrozenSet:
      push_list(Kind::kSet, pop_to_mark());
      return true;
    case Op::kTuple1:
    case Op::kTuple2:
    case Op::kTuple3: {
      std::vector<PickleValue*> items(static_cast<std::size_t>(op) - static_cast<std::size_t>(Op::kTuple1) + 1);
      for (std::size_t i = items.size(); i > 0; --i) items[i - 1] = pop();
      push_list(Kind::kTuple, items);
      return true;
    }
    case Op::kDict: {
      const std::vector<PickleValue*> items = pop_to_mark();
      push(make(Kind::kDict));
      set_items(items);
      return true;
    }
    case Op::kAppend: {
      PickleValue* item = pop();
      add_items(Kind::kList, {item});
      return true;
    }
    case Op::kAppends:
      add_items(Kind::kList, pop_to_mark());
      return true;
    case Op::kAddItems:
      add_items(Kind::kSet, pop_to_mark());
      return true;
    case Op::kSetItem: {
      PickleValue* value = pop();
      PickleValue* key = pop();
      set_items({key, value});
      return true;
    }
    case Op::kSetItems:
      set_items(pop_to_mark());
      return true;
    default:
      return false;
  }
}

template <class Items>
void Interpreter::give(PickleValue& to, const Items& items) {
  items_ += items.size();
  if (items_ > kMaxItems) refuse("its lists and dictionaries have more than ", kMaxItems, " items");
  to.items.insert(to.items.end(), items.begin(), items.end());
}

void Interpreter::push_list(Kind kind, const std::vector<PickleValue*>& items) {
  PickleValue* value = make(kind);
  give(*value, items);
  push(value);
}

// Items given to an object of a class without meaning are left out with it.
void Interpreter::add_items(Kind kind, const std::vector<PickleValue*>& items) {
  PickleValue* to = top();
  if (to->is(Kind::kObject) && to->made_by() == PickleClass::kOther) return;
  if (!to->is(kind)) refuse("it adds items of ", kind_name(kind), " to ", kind_name(to->kind));
  give(*to, items);
}

void Interpreter::set_items(const std::vector<PickleValue*>& items) {
  PickleValue* to = top();
  if (items.size() % 2 != 0) refuse("it gives a dictionary a key without a value");
  if (to->is(Kind::kObject) && to->made_by() == PickleClass::kOther) return;
  if (!to->is(Kind::kDict)) refuse("it sets items of ", kind_name(to->kind), " as if it were a dictionary");
  give(*to, items);
}

// ---- Memo -----------------------------------------------------------------------------------------------------------

std::size_t Interpreter::place_in_line() {
  const std::string_view digits = line();
  std::size_t place = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), place);
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size())
    refuse("expected a place in the memo, found '", printable(digits, 40), "'");
  return place;
}

bool Interpreter::memo(Op op) {
  switch (op) {
    case Op::kPut:
      store(place_in_line());
      return true;
    case Op::kBinPut:
      store(number<std::uint8_t>());
      return true;
    case Op::kLongBinPut:
      store(number<std::uint32_t>());
      return true;
    case Op::kMemoize:
      store(memo_.size());
      return true;
    case Op::kGet:
      fetch(place_in_line());
      return true;
    case Op::kBinGet:
      fetch(number<std::uint8_t>());
      return true;
    case Op::kLongBinGet:
      fetch(number<std::uint32_t>());
      return true;
    default:
      return false;
  }
}

void Interpreter::store(std::size_t place) {
  PickleValue* value = top();
  if (place >= kMaxMemo) refuse("expected a place in the memo below ", kMaxMemo, ", found ", place);
  if (place >= memo_.size()) memo_.resize(place + 1);
  memo_[place] = value;
}

void Interpreter::fetch(std::size_t place) {
  if (place >= memo_.size() || memo_[place] == nullptr) refuse("nothing was put at place ", place, " of the memo");
  push(memo_[place]);
}

// ---- Names and objects ----------------------------------------------------------------------------------------------

bool Interpreter::object(Op op) {
  switch (op) {
    case Op::kGlobal: {
      const std::string_view module = line();
      push_global(module, line());
      return true;
    }
    case Op::kStackGlobal:
      push_stack_global();
      return true;
    case Op::kReduce:
    case Op::kNewObj: {
      PickleValue* arguments = pop();
      push_object(pop(), arguments);
      return true;
    }
    case Op::kNewObjEx: {
      if (!pop()->is(Kind::kDict)) refuse("expected the named arguments of an object in a dictionary");
      PickleValue* arguments = pop();
      push_object(pop(), arguments);
      return true;
    }
    case Op::kBuild:
      build(pop());
      return true;
    case Op::kBinPersistentId: {
      PickleValue* id = pop();
      push_list(Kind::kPersistent, {id});
      return true;
    }
    default:
      return false;
  }
}

void Interpreter::push_global(std::string_view module, std::string_view name) {
  if (!is_utf8(module) || !is_utf8(name)) refuse("expected the name of a class in UTF-8");
  if (const std::optional<std::string> code = runs_code(module, name)) {
    fail_data(where_, ": refused: Python would run ", printable(*code),
              " when it opens this file, which no file of weights needs; do not open it with torch.load or pickle");
  }
  PickleValue* value = make(Kind::kGlobal);
  value->bytes = module;
  value->name = name;
  value->meaning = pickle_class(module, name);
  push(value);
}

void Interpreter::push_stack_global() {
  const PickleValue *name = pop(), *module = pop();
  if (!name->is(Kind::kText) || !module->is(Kind::kText)) refuse("expected module and name of a class as texts");
  if (name->bytes.size() > kMaxLine || module->bytes.size() > kMaxLine)
    refuse("expected names of classes of at most ", kMaxLine, " bytes");
  push_global(module->bytes, name->bytes);
}

void Interpreter::push_object(const PickleValue* callable, const PickleValue* arguments) {
  if (!callable->is(Kind::kGlobal) && !callable->is(Kind::kObject))
    refuse("expected a class to make an object of, found ", kind_name(callable->kind));
  if (!arguments->is(Kind::kTuple))
    refuse("expected the arguments of ", printable(callable->class_name()), " in a tuple, found ",
           kind_name(arguments->kind));
  const PickleClass meaning = callable->is(Kind::kGlobal) ? callable->meaning : PickleClass::kOther;
  const PickleValue* first = arguments->items.empty() ? nullptr : arguments->items[0];
  if (meaning == PickleClass::kDict || meaning == PickleClass::kDefaultDict) {
    PickleValue* dict = make(Kind::kDict);
    if (meaning == PickleClass::kDict) fill_dict(*dict, *arguments);
    push(dict);
  } else if (meaning == PickleClass::kSet || meaning == PickleClass::kList) {
    PickleValue* list = make(meaning == PickleClass::kSet ? Kind::kSet : Kind::kList);
    if (first != nullptr) {
      if (!first->is(Kind::kList) && !first->is(Kind::kTuple) && !first->is(Kind::kSet))
        refuse("expected a list or tuple for ", callable->class_name(), ", found ", kind_name(first->kind));
      give(*list, first->items);
    }
    push(list);
  } else if (meaning == PickleClass::kReconstructor && first != nullptr && first->is(Kind::kGlobal)) {
    push_object(first, make(Kind::kTuple));  // how protocol 1 says NEWOBJ
  } else {
    PickleValue* object = make(Kind::kObject);
    give(*object, PickleValue::Items{callable, arguments});
    push(object);
  }
}

// OrderedDict([(key, value), …]) as Python 2 wrote it, or Counter({key: count}).
void Interpreter::fill_dict(PickleValue& dict, const PickleValue& arguments) {
  if (arguments.items.empty()) return;
  const PickleValue& from = *arguments.items[0];
  if (from.is(Kind::kDict)) {
    give(dict, from.items);
    return;
  }
  if (!from.is(Kind::kList) && !from.is(Kind::kTuple))
    refuse("expected a dictionary of pairs, found ", kind_name(from.kind));
  for (const PickleValue* pair : from.items) {
    if ((!pair->is(Kind::kList) && !pair->is(Kind::kTuple)) || pair->items.size() != 2)
      refuse("expected a dictionary of pairs, found ", kind_name(pair->kind), " among them");
    give(dict, pair->items);
  }
}

// An OrderedDict may have attributes (a state dictionary's _metadata), which nothing here asks for.
void Interpreter::build(PickleValue* state) {
  PickleValue* to = top();
  if (to->is(Kind::kDict) && (state->is(Kind::kDict) || state->is(Kind::kTuple))) return;
  const PickleClass made_by = to->made_by();
  const bool takes =
      to->is(Kind::kObject) && (made_by == PickleClass::kOther || made_by == PickleClass::kNamespace ||
                                made_by == PickleClass::kNumpyType || made_by == PickleClass::kNumpyArray);
  if (!takes || to->state != nullptr)
    refuse("it sets the state of ", kind_name(to->kind), to->is(Kind::kObject) ? " " + printable(to->class_name()) : "",
           ", which takes none");
  to->state = state;
}

// ---- The whole ------------------------------------------------------------------------------------------------------

void Interpreter::refuse_operation(Op op) const {
  const auto code = static_cast<std::uint8_t>(op);
  for (const RefusedOp& row : kRefusedOps) {
    if (row.code == code) refuse("the operation ", row.name, " is not understood; no file of weights needs it");
  }
  refuse("expected an operation, found ", static_cast<int>(code));
}

const PickleValue* Interpreter::run() {
  for (std::size_t done = 0;; ++done) {
    if (done == kMaxOperations) refuse("it has more than ", kMaxOperations, " operations");
    start_ = at_;
    if (at_ == bytes_.size()) refuse("expected another operation, found the end");
    const auto op = static_cast<Op>(number<std::uint8_t>());
    if (op == Op::kStop) break;
    if (op == Op::kProto) {
      const unsigned protocol = number<std::uint8_t>();
      if (protocol > kMaxProtocol) refuse("expected a protocol up to ", kMaxProtocol, ", found ", protocol);
    } else if (op == Op::kFrame) {
      (void)number<std::uint64_t>();  // how many bytes a reader from a pipe would want at once
    } else if (op == Op::kMark) {
      marks_.push_back(stack_.size());
    } else if (op == Op::kPopMark) {
      (void)pop_to_mark();
    } else if (op == Op::kPop) {
      if (!marks_.empty() && marks_.back() == stack_.size()) {
        marks_.pop_back();  // as Python does: a mark is popped like a value
      } else {
        (void)pop();
      }
    } else if (op == Op::kDup) {
      push(top());
    } else if (!scalar(op) && !text_or_bytes(op) && !container(op) && !memo(op) && !object(op)) {
      refuse_operation(op);
    }
  }
  if (at_ != bytes_.size()) refuse("expected its end, found ", bytes_.size() - at_, " more bytes");
  if (!marks_.empty() || stack_.size() != 1) refuse("expected one value at the end, found ", stack_.size());
  return stack_.back();
}

}  // namespace

PickleClass PickleValue::made_by() const {
  return is(Kind::kObject) && items[0]->is(Kind::kGlobal) ? items[0]->meaning : PickleClass::kOther;
}

std::string PickleValue::class_name() const {
  const PickleValue* named = this;
  for (int depth = 0; named->is(Kind::kObject) && depth < 8; ++depth) named = named->items[0];
  if (!named->is(Kind::kGlobal)) return "an object that makes objects";
  return std::string(named->bytes) + "." + std::string(named->name);
}

const PickleValue::Items& PickleValue::arguments() const {
  static const Items kNoItems;
  return is(Kind::kObject) ? items[1]->items : kNoItems;
}

const PickleValue* PickleValue::find(std::string_view key) const {
  if (!is(Kind::kDict)) return nullptr;
  for (std::size_t i = 0; i + 1 < items.size(); i += 2) {
    if (items[i]->is(Kind::kText) && items[i]->bytes == key) return items[i + 1];
  }
  return nullptr;
}

Pickle::Pickle(std::span<const std::byte> bytes, const std::string& where) {
  root_ = Interpreter(bytes, where, values_).run();
}

}  // namespace lacuna
