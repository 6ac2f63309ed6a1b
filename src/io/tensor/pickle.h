#pragma once
// Pickles (protocols 1 to 5, Python's pickletools.py) as inert data: what they would build is kept as a tree of values,
// and nothing is looked up, imported or called. A class is a name, an object is its class, arguments and state.
//
// Only the operations that torch.save and Python's own pickler of such protocols write are understood; any other is
// refused by name. A name that would run code when Python opens the file (io/tensor/pickle_classes.h) has the whole
// file refused. Operations, values and the stack are counted, so that the tree takes bounded memory; since values are
// shared through the memo, a walk over the tree must count its steps itself, and may meet cycles.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "io/tensor/pickle_classes.h"

namespace lacuna {

struct PickleValue {
  enum class Kind : std::uint8_t {
    kNone,
    kBool,        // integer
    kInt,         // integer
    kBigInt,      // bytes: beyond 64 bits
    kFloat,       // number
    kText,        // bytes, UTF-8
    kBytes,       // bytes
    kList,        // items
    kTuple,       // items
    kDict,        // items: key, value, key, value …
    kSet,         // items
    kGlobal,      // bytes: module; name, meaning
    kObject,      // items: class, arguments; state
    kPersistent,  // items: the id
  };
  using Items = std::vector<const PickleValue*>;

  Kind kind = Kind::kNone;
  PickleClass meaning = PickleClass::kOther;
  std::int64_t integer = 0;
  double number = 0;
  std::string_view bytes;  // in the pickle
  std::string_view name;   // in the pickle
  Items items;
  const PickleValue* state = nullptr;  // an object's, or null

  bool is(Kind other) const { return kind == other; }
  // The class of an object if that is a global, else kOther.
  PickleClass made_by() const;
  // "module.name" of a global, or of an object's class.
  std::string class_name() const;
  // Items of the tuple of an object's arguments; empty if it is none.
  const Items& arguments() const;
  // The value under a key of text in a dictionary, or null.
  const PickleValue* find(std::string_view key) const;
};

class Pickle {
 public:
  // `bytes` outlive the values, whose texts are parts of them. `where` names file and record in errors.
  Pickle(std::span<const std::byte> bytes, const std::string& where);

  const PickleValue& root() const { return *root_; }

 private:
  std::deque<PickleValue> values_;
  const PickleValue* root_ = nullptr;
};

}  // namespace lacuna
