#include "io/tensor/pickle.h"

#include <charconv>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/utf8.h"
#include "io/files.h"
#include "io/tensor/pickle_machine.h"
#include "io/tensor/pickle_ops.h"

namespace lacuna {
namespace {

using Kind = PickleValue::Kind;
using Op = PickleOp;

constexpr std::size_t kMaxClassName = 1024;
constexpr unsigned kMaxProtocol = 5;

const char* kind_name(Kind kind) {
  constexpr const char* kNames[] = {"None",   "a boolean", "an integer", "an integer",     "a number",
                                    "a text", "bytes",     "a list",     "a tuple",        "a dictionary",
                                    "a set",  "a class",   "an object",  "a persistent id"};
  return kNames[static_cast<std::size_t>(kind)];
}

class Interpreter : PickleMachine {
 public:
  using PickleMachine::PickleMachine;

  const PickleValue* run();

 private:
  // Each takes the operation if it is one of its own.
  bool structure(Op op);
  bool scalar(Op op);
  bool text_or_bytes(Op op);
  bool new_container(Op op);
  bool filling(Op op);
  bool memo(Op op);
  bool object(Op op);
  [[noreturn]] void refuse_operation(Op op) const;

  void push_integer(std::int64_t value);
  void push_boolean(bool value);
  void push_float(std::uint64_t big_endian);
  void push_text(std::string_view content, Kind kind);
  void push_long(std::string_view content);
  void push_number_line(Op op);
  void push_global(std::string_view module, std::string_view name);
  void push_stack_global();
  void push_list(Kind kind, const std::vector<PickleValue*>& items);
  void push_tuple(std::size_t items);
  void push_object(const PickleValue* callable, const PickleValue* arguments);
  void push_items_of(Kind kind, const PickleValue* from, const std::string& name);
  void fill_dict(PickleValue& dict, const PickleValue& arguments);
  void add_items(Kind kind, const std::vector<PickleValue*>& items);
  void set_items(const std::vector<PickleValue*>& items);
  void build(const PickleValue* state);
};

// ---- Plain values ---------------------------------------------------------------------------------------------------

bool Interpreter::scalar(Op op) {
  switch (op) {
    case Op::kNone:
      return push(make(Kind::kNone)), true;
    case Op::kNewTrue:
    case Op::kNewFalse:
      return push_boolean(op == Op::kNewTrue), true;
    case Op::kBinInt:
      return push_integer(number<std::int32_t>()), true;
    case Op::kBinInt1:
      return push_integer(number<std::uint8_t>()), true;
    case Op::kBinInt2:
      return push_integer(number<std::uint16_t>()), true;
    case Op::kLong1:
      return push_long(take(number<std::uint8_t>())), true;
    case Op::kLong4:
      return push_long(take(number<std::uint32_t>())), true;
    case Op::kIntLine:
    case Op::kLongLine:
    case Op::kFloatLine:
      return push_number_line(op), true;
    case Op::kBinFloat:
      return push_float(number<std::uint64_t>()), true;
    default:
      return false;
  }
}

void Interpreter::push_integer(std::int64_t value) {
  PickleValue* made = make(Kind::kInt);
  made->integer = value;
  push(made);
}

void Interpreter::push_boolean(bool value) {
  PickleValue* made = make(Kind::kBool);
  made->integer = value;
  push(made);
}

void Interpreter::push_float(std::uint64_t big_endian) {
  PickleValue* made = make(Kind::kFloat);
  const std::uint64_t bits = __builtin_bswap64(big_endian);
  std::memcpy(&made->number, &bits, sizeof(bits));
  push(made);
}

// Little-endian two's complement of any length.
void Interpreter::push_long(std::string_view content) {
  if (content.size() > 8) return push(make(Kind::kBigInt));
  const bool negative = !content.empty() && (static_cast<unsigned char>(content.back()) & 0x80) != 0;
  std::int64_t value = negative ? -1 : 0;
  std::memcpy(&value, content.data(), content.size());
  push_integer(value);
}

void Interpreter::push_number_line(Op op) {
  std::string_view digits = line();
  if (op == Op::kIntLine && (digits == "00" || digits == "01")) return push_boolean(digits == "01");
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
      return push_text(take(number<std::uint8_t>()), Kind::kText), true;
    case Op::kBinUnicode:
      return push_text(take(number<std::uint32_t>()), Kind::kText), true;
    case Op::kBinUnicode8:
      return push_text(take(number<std::uint64_t>()), Kind::kText), true;
    case Op::kShortBinBytes:
      return push_text(take(number<std::uint8_t>()), Kind::kBytes), true;
    case Op::kBinBytes:
      return push_text(take(number<std::uint32_t>()), Kind::kBytes), true;
    case Op::kBinBytes8:
    case Op::kByteArray8:
      return push_text(take(number<std::uint64_t>()), Kind::kBytes), true;
    case Op::kShortBinString:
    case Op::kBinString: {  // a text of Python 2, if it is one
      const auto content = take(op == Op::kBinString ? number<std::uint32_t>() : number<std::uint8_t>());
      return push_text(content, is_utf8(content) ? Kind::kText : Kind::kBytes), true;
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

bool Interpreter::new_container(Op op) {
  switch (op) {
    case Op::kEmptyList:
      return push(make(Kind::kList)), true;
    case Op::kEmptyTuple:
      return push(make(Kind::kTuple)), true;
    case Op::kEmptyDict:
      return push(make(Kind::kDict)), true;
    case Op::kEmptySet:
      return push(make(Kind::kSet)), true;
    case Op::kList:
      return push_list(Kind::kList, pop_to_mark()), true;
    case Op::kTuple:
      return push_list(Kind::kTuple, pop_to_mark()), true;
    case Op::kFrozenSet:
      return push_list(Kind::kSet, pop_to_mark()), true;
    case Op::kTuple1:
      return push_tuple(1), true;
    case Op::kTuple2:
      return push_tuple(2), true;
    case Op::kTuple3:
      return push_tuple(3), true;
    case Op::kDict: {
      const std::vector<PickleValue*> items = pop_to_mark();
      push(make(Kind::kDict));
      return set_items(items), true;
    }
    default:
      return false;
  }
}

void Interpreter::push_list(Kind kind, const std::vector<PickleValue*>& items) {
  PickleValue* value = make(kind);
  give(*value, items);
  push(value);
}

void Interpreter::push_tuple(std::size_t items) {
  std::vector<PickleValue*> taken(items);
  for (std::size_t i = items; i > 0; --i) taken[i - 1] = pop();
  push_list(Kind::kTuple, taken);
}

bool Interpreter::filling(Op op) {
  switch (op) {
    case Op::kAppend: {
      PickleValue* item = pop();
      return add_items(Kind::kList, {item}), true;
    }
    case Op::kAppends:
      return add_items(Kind::kList, pop_to_mark()), true;
    case Op::kAddItems:
      return add_items(Kind::kSet, pop_to_mark()), true;
    case Op::kSetItem: {
      PickleValue* value = pop();
      PickleValue* key = pop();
      return set_items({key, value}), true;
    }
    case Op::kSetItems:
      return set_items(pop_to_mark()), true;
    default:
      return false;
  }
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

bool Interpreter::memo(Op op) {
  switch (op) {
    case Op::kPut:
      return store(place_in_line()), true;
    case Op::kBinPut:
      return store(number<std::uint8_t>()), true;
    case Op::kLongBinPut:
      return store(number<std::uint32_t>()), true;
    case Op::kMemoize:
      return store_next(), true;
    case Op::kGet:
      return fetch(place_in_line()), true;
    case Op::kBinGet:
      return fetch(number<std::uint8_t>()), true;
    case Op::kLongBinGet:
      return fetch(number<std::uint32_t>()), true;
    default:
      return false;
  }
}

// ---- Names and objects ----------------------------------------------------------------------------------------------

bool Interpreter::object(Op op) {
  switch (op) {
    case Op::kGlobal: {
      const std::string_view module = line();
      return push_global(module, line()), true;
    }
    case Op::kStackGlobal:
      return push_stack_global(), true;
    case Op::kNewObjEx:
      if (!pop()->is(Kind::kDict)) refuse("expected the named arguments of an object in a dictionary");
      [[fallthrough]];
    case Op::kReduce:
    case Op::kNewObj: {
      const PickleValue* arguments = pop();
      return push_object(pop(), arguments), true;
    }
    case Op::kBuild:
      return build(pop()), true;
    case Op::kBinPersistentId: {
      PickleValue* id = pop();
      return push_list(Kind::kPersistent, {id}), true;
    }
    default:
      return false;
  }
}

void Interpreter::push_global(std::string_view module, std::string_view name) {
  if (!is_utf8(module) || !is_utf8(name)) refuse("expected the name of a class in UTF-8");
  if (const std::optional<std::string> code = runs_code(module, name)) {
    fail_data(where(), ": refused: Python would run ", printable(*code),
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
  if (name->bytes.size() > kMaxClassName || module->bytes.size() > kMaxClassName)
    refuse("expected names of classes of at most ", kMaxClassName, " bytes");
  push_global(module->bytes, name->bytes);
}

void Interpreter::push_object(const PickleValue* callable, const PickleValue* arguments) {
  if (!callable->is(Kind::kGlobal) && !callable->is(Kind::kObject))
    refuse("expected a class to make an object of, found ", kind_name(callable->kind));
  if (!arguments->is(Kind::kTuple)) {
    refuse("expected the arguments of ", printable(callable->class_name()), " in a tuple, found ",
           kind_name(arguments->kind));
  }
  const PickleValue* first = arguments->items.empty() ? nullptr : arguments->items[0];
  switch (callable->is(Kind::kGlobal) ? callable->meaning : PickleClass::kOther) {
    case PickleClass::kDefaultDict:  // its argument makes values that are missing
      return push(make(Kind::kDict));
    case PickleClass::kDict: {
      PickleValue* dict = make(Kind::kDict);
      fill_dict(*dict, *arguments);
      return push(dict);
    }
    case PickleClass::kSet:
      return push_items_of(Kind::kSet, first, callable->class_name());
    case PickleClass::kList:
      return push_items_of(Kind::kList, first, callable->class_name());
    case PickleClass::kReconstructor:  // how protocol 1 says NEWOBJ
      if (first != nullptr && first->is(Kind::kGlobal)) return push_object(first, make(Kind::kTuple));
      [[fallthrough]];
    default: {
      PickleValue* object = make(Kind::kObject);
      give(*object, PickleValue::Items{callable, arguments});
      push(object);
    }
  }
}

// A list or set of the items of `from`, which is null where an empty one is made.
void Interpreter::push_items_of(Kind kind, const PickleValue* from, const std::string& name) {
  PickleValue* made = make(kind);
  if (from != nullptr) {
    if (!from->is(Kind::kList) && !from->is(Kind::kTuple) && !from->is(Kind::kSet))
      refuse("expected a list or tuple for ", name, ", found ", kind_name(from->kind));
    give(*made, from->items);
  }
  push(made);
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
void Interpreter::build(const PickleValue* state) {
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
  for (const RefusedPickleOp& row : kRefusedPickleOps) {
    if (row.code == code) refuse("the operation ", row.name, " is not understood; no file of weights needs it");
  }
  refuse("expected an operation, found ", static_cast<int>(code));
}

// What tells pickles from their contents: protocol, marks, the stack itself.
bool Interpreter::structure(Op op) {
  switch (op) {
    case Op::kProto: {
      const unsigned protocol = number<std::uint8_t>();
      if (protocol > kMaxProtocol) refuse("expected a protocol up to ", kMaxProtocol, ", found ", protocol);
      return true;
    }
    case Op::kFrame:  // how many bytes a reader from a pipe would want at once
      return (void)number<std::uint64_t>(), true;
    case Op::kMark:
      return mark(), true;
    case Op::kPopMark:
      return (void)pop_to_mark(), true;
    case Op::kPop:  // a mark is popped like a value, as Python does
      return mark_is_on_top() ? (void)pop_to_mark() : (void)pop(), true;
    case Op::kDup:
      return push(top()), true;
    default:
      return false;
  }
}

const PickleValue* Interpreter::run() {
  while (true) {
    const auto op = static_cast<Op>(next_operation());
    if (op == Op::kStop) return result();
    if (!memo(op) && !scalar(op) && !text_or_bytes(op) && !new_container(op) && !filling(op) && !object(op) &&
        !structure(op)) {
      refuse_operation(op);
    }
  }
}

}  // namespace

Pickle::Pickle(std::span<const std::byte> bytes, const std::string& where) {
  root_ = Interpreter(bytes, where, values_).run();
}

}  // namespace lacuna
